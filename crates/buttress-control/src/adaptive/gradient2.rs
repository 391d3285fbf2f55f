use std::time::Duration;

use super::bounds::Bounds;
use super::options::limit_options;
use super::rounds::{Round, Rounds};
use super::stats::Average;
use crate::numbers::nanos::from_float;
use crate::{Adapt, Ratio, Sample, Slack, near_limit};

/// Scales the limit by how much slower calls have become, and always adds a few calls.
///
/// The law of [Netflix's `Gradient2Limit`][netflix]:
///
/// > `gradient = clamp(tolerance · baseline / rtt, 0.5, 1)`
/// >
/// > `limit = (1 − smoothing) · limit + smoothing · (gradient · limit + queue)`
///
/// ```
/// use buttress_control::{Adapt, Gradient2, Slack};
///
/// // The larger the limit, the more it may grow.
/// let law = Gradient2::default().queue(Slack::sqrt(4));
/// assert_eq!(law.limit(), 20);
/// ```
///
/// # Where it settles
///
/// At 1.2 times as many calls as the service can work on at once, plus 4. Without drops, the limit
/// never falls below 8, because the gradient takes at most half and the queue gives 4 back. The
/// limit grows by at most 0.8 per round. If the service has become slower, the limit grows by a
/// fifth per round, up to the throughput of before.
///
/// # For servers
///
/// Use this law for a single limit in front of all calls of a service. Several clients that each
/// limit themselves by this law can climb together. Use [`Trend`](crate::Trend) there.
///
/// # Changes to the original
///
/// Netflix compares with an average over the last 600 rounds. Under a lasting overload, this
/// average becomes the time under overload, and the limit drifts up to its maximum. Here probes
/// measure the baseline. After drops the limit falls by a tenth. Netflix's class ignores drops.
///
/// # Defaults
///
/// | option | |
/// |---|---|
/// | [`tolerance`](Self::tolerance) | 120 % (Netflix: 150 %, against its average) |
/// | [`queue`](Self::queue) | 4 calls |
/// | [`smoothing`](Self::smoothing) | 20 % |
/// | [`initial`](Self::initial), [`min`](Self::min), [`max`](Self::max) | 20, 1, 1000 (Netflix: 20, 20, 200) |
/// | [`round`](Self::round) | 100 calls, and twice the limit |
///
/// [netflix]: https://github.com/Netflix/concurrency-limits/blob/main/concurrency-limits-core/src/main/java/com/netflix/concurrency/limits/limit/Gradient2Limit.java
#[derive(Clone, Debug)]
pub struct Gradient2 {
    bounds: Bounds,
    rounds: Rounds,
    limit: f64,
    tolerance: Ratio,
    queue: Slack,
    smoothing: Ratio,
    /// The baseline while nothing is probed.
    long: Average,
}

impl Gradient2 {
    limit_options!();

    /// Sets the multiple of the baseline above which the limit shrinks. Default: 120 %. Less than
    /// 100 % counts as 100 %.
    pub const fn tolerance(mut self, tolerance: Ratio) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Sets how many calls the limit adds to what the gradient allows. Default: 4.
    pub const fn queue(mut self, queue: Slack) -> Self {
        self.queue = queue;
        self
    }

    /// Sets the weight of the new limit against the former limit. Default: 20 %. More than 100 %
    /// counts as 100 %.
    pub const fn smoothing(mut self, smoothing: Ratio) -> Self {
        self.smoothing = smoothing;
        self
    }

    fn step(&mut self, round: Round) {
        if let Some(regrown) = self.rounds.regrown(self.whole(), round) {
            self.limit = self.bounds.keep_float(regrown.into());
            return;
        }
        let baseline = self.known(round);
        let target = if round.dropped {
            self.limit * STEEPEST
        } else if near_limit(round.in_flight, self.whole()) {
            let gradient = self.tolerance.as_f64().max(1.0) * baseline / round.rtt;
            self.limit * gradient.clamp(STEEPEST, 1.0) + f64::from(self.queue.at(self.whole()))
        } else {
            self.limit
        };
        let smoothing = self.smoothing.as_f64().min(1.0);
        let limit = self.limit * (1.0 - smoothing) + target * smoothing;
        self.limit = self.bounds.keep_float(limit);
    }

    fn known(&mut self, round: Round) -> f64 {
        let probed = self.rounds.baseline();
        if !self.rounds.uses_single_samples() {
            return probed.unwrap_or(round.rtt);
        }
        self.long.begin_at(probed);
        let long = self.long.add(round.rtt);
        // Otherwise the average would need as long to fall as the overload lasted.
        if long > 2.0 * round.rtt {
            self.long.scale(0.95);
        }
        long
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a limit lies between 1 and the largest u32"
    )]
    #[inline]
    const fn whole(&self) -> u32 {
        self.limit as u32
    }
}

impl Adapt for Gradient2 {
    #[inline]
    fn limit(&self) -> u32 {
        self.rounds.cap(self.bounds, self.whole())
    }

    #[inline]
    fn learn(&mut self, sample: Sample) -> u32 {
        if let Some(round) = self.rounds.learn(self.bounds, self.whole(), sample) {
            self.step(round);
        }
        self.limit()
    }

    #[inline]
    fn unloaded_rtt(&self) -> Option<Duration> {
        self.rounds.settled(self.bounds, self.whole()).map(from_float)
    }
}

impl Default for Gradient2 {
    fn default() -> Self {
        Self {
            bounds: Bounds::DEFAULT,
            rounds: Rounds::DEFAULT,
            limit: f64::from(Bounds::DEFAULT.initial),
            tolerance: Ratio::percent(120),
            queue: Slack::constant(4),
            smoothing: Ratio::percent(20),
            long: Average::over(600),
        }
    }
}

/// The smallest gradient, so that a single bad round does not take everything.
const STEEPEST: f64 = 0.5;
