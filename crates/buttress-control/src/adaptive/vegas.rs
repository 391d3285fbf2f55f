use std::time::Duration;

use super::band::Band;
use super::bounds::Bounds;
use super::options::limit_options;
use super::rounds::{Round, Rounds};
use crate::numbers::nanos::from_float;
use crate::{Adapt, Sample, Slack, near_limit};

/// Keeps a few calls waiting inside the service, and no more.
///
/// The law of [TCP Vegas][vegas] in the form of [Netflix's `VegasLimit`][netflix]. By Little's law,
/// of the calls in flight
///
/// > `queue = limit · (1 − baseline / rtt)`
///
/// wait. While fewer than [`Vegas::alpha`] wait, the limit grows. While more than [`Vegas::beta`]
/// wait, the limit shrinks. In between the limit stays.
///
/// ```
/// use buttress_control::{Adapt, Slack, Vegas};
///
/// let law = Vegas::default().alpha(Slack::constant(2)).beta(Slack::constant(4));
/// assert_eq!(law.limit(), 20);
/// ```
///
/// # Where it settles
///
/// At 3 to 6 calls more than the service can work on at once. For limits above 30, at a tenth to a
/// fifth of the limit more.
///
/// # For servers
///
/// Use this law for a single limit in front of all calls of a service. Several clients that each
/// limit themselves by this law can climb together. Use [`Trend`](crate::Trend) there.
///
/// # Changes to the original
///
/// The mean of a round of `n` calls errs by about `1/√n`, and the queue by that share of the limit.
/// So in rounds `alpha` is at least a tenth of the limit and `beta` a fifth, as the comment on
/// Netflix's class says and its code does not. A limit that is far too high falls by half of the
/// excess, and after drops by a tenth.
///
/// # Defaults
///
/// | option | |
/// |---|---|
/// | [`alpha`](Self::alpha), [`beta`](Self::beta) | `Slack::log10(3)`, `Slack::log10(6)` |
/// | [`initial`](Self::initial), [`min`](Self::min), [`max`](Self::max) | 20, 1, 1000 |
/// | [`round`](Self::round) | 100 calls, and twice the limit |
///
/// [vegas]: https://doi.org/10.1145/190314.190317
/// [netflix]: https://github.com/Netflix/concurrency-limits/blob/main/concurrency-limits-core/src/main/java/com/netflix/concurrency/limits/limit/VegasLimit.java
#[derive(Clone, Debug)]
pub struct Vegas {
    bounds: Bounds,
    rounds: Rounds,
    limit: u32,
    alpha: Slack,
    beta: Slack,
}

impl Vegas {
    limit_options!();

    /// Sets the number of waiting calls below which the limit grows. Default: `Slack::log10(3)`.
    ///
    /// The limit grows by 1 for each decimal digit of the limit after the first, and by at least 1.
    /// If no more calls wait than these steps count, the limit grows by [`Vegas::beta`].
    pub const fn alpha(mut self, alpha: Slack) -> Self {
        self.alpha = alpha;
        self
    }

    /// Sets the number of waiting calls above which the limit shrinks. Default: `Slack::log10(6)`.
    pub const fn beta(mut self, beta: Slack) -> Self {
        self.beta = beta;
        self
    }

    fn step(&mut self, round: Round) {
        let Some(baseline) = self.known(round) else { return };
        let band = self.band();
        let waiting = band.waiting(baseline, round.rtt);
        let limit = if round.dropped {
            band.after_drops()
        } else if waiting > band.beta {
            band.down(waiting)
        } else if !near_limit(round.in_flight, self.limit) {
            self.limit
        } else if waiting <= band.step {
            self.limit.saturating_add(band.beta)
        } else if waiting < band.alpha {
            band.up()
        } else {
            self.limit
        };
        self.limit = self.bounds.keep(limit);
    }

    fn band(&self) -> Band {
        if self.rounds.uses_single_samples() {
            Band::of_calls(self.limit, self.alpha, self.beta)
        } else {
            Band::of_rounds(self.limit, self.alpha, self.beta)
        }
    }

    /// The baseline, unless this round was the first to show it. Without probes the baseline is the
    /// least time of a call.
    fn known(&mut self, round: Round) -> Option<f64> {
        let known = self.rounds.baseline();
        if !self.rounds.uses_single_samples() || round.dropped {
            return known.or(Some(round.rtt));
        }
        let known = known.filter(|least| *least <= round.rtt);
        if known.is_none() {
            self.rounds.know(round.rtt);
        }
        known
    }
}

impl Adapt for Vegas {
    #[inline]
    fn limit(&self) -> u32 {
        self.rounds.cap(self.bounds, self.limit)
    }

    #[inline]
    fn learn(&mut self, sample: Sample) -> u32 {
        if let Some(round) = self.rounds.learn(self.bounds, self.limit, sample) {
            self.step(round);
        }
        self.limit()
    }

    #[inline]
    fn unloaded_rtt(&self) -> Option<Duration> {
        self.rounds.settled(self.bounds, self.limit).map(from_float)
    }
}

impl Default for Vegas {
    fn default() -> Self {
        Self {
            bounds: Bounds::DEFAULT,
            rounds: Rounds::DEFAULT,
            limit: Bounds::DEFAULT.initial,
            alpha: Slack::log10(3),
            beta: Slack::log10(6),
        }
    }
}
