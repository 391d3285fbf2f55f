use std::time::Duration;

use super::bounds::Bounds;
use super::options::limit_options;
use super::rounds::{Round, Rounds};
use crate::numbers::nanos::from_float;
use crate::{Adapt, Ratio, Sample, near_limit};

/// Scales the limit by baseline / RTT at once, and adds a square root of headroom.
///
/// The law of [Envoy's adaptive concurrency filter][envoy]:
///
/// > `gradient = clamp((1 + buffer) · baseline / rtt, 0.5, 2)`
/// >
/// > `limit = ⌊gradient · limit + √(gradient · limit)⌋`
///
/// ```
/// use buttress_control::{Adapt, Gradient, Ratio};
///
/// let law = Gradient::default().buffer(Ratio::percent(10)).min(3);
/// assert_eq!(law.limit(), 20);
/// ```
///
/// # Where it settles
///
/// At 1.25 times as many calls as the service can work on at once, plus the square root of that.
/// The limit can double in a round. So this law is the quickest to follow, up and down.
///
/// # For servers
///
/// Use this law for a single limit in front of all calls of a service. Several clients that each
/// limit themselves by this law can climb together. Use [`Trend`](crate::Trend) there.
///
/// # Changes to the original
///
/// Envoy measures the baseline with three calls at a time every 60 s, and steps every 100 ms. Here
/// both go by rounds. Under [`Gradient::each_call`] the law needs a given [`Gradient::baseline`].
/// After drops the limit falls by a tenth. Envoy's filter ignores drops.
///
/// # Defaults
///
/// | option | |
/// |---|---|
/// | [`buffer`](Self::buffer) | 25 % |
/// | [`initial`](Self::initial), [`min`](Self::min), [`max`](Self::max) | 20, 1, 1000 (Envoy: 3, 3, 1000) |
/// | [`round`](Self::round) | 100 calls, and twice the limit |
///
/// [envoy]: https://github.com/envoyproxy/envoy/blob/main/source/extensions/filters/http/adaptive_concurrency/controller/gradient_controller.cc
#[derive(Clone, Debug)]
pub struct Gradient {
    bounds: Bounds,
    rounds: Rounds,
    limit: u32,
    buffer: Ratio,
}

impl Gradient {
    limit_options!();

    /// Sets by how much longer than the baseline calls may take before the limit shrinks, as a
    /// share of the baseline. Default: 25 %.
    pub const fn buffer(mut self, buffer: Ratio) -> Self {
        self.buffer = buffer;
        self
    }

    fn step(&mut self, round: Round) {
        let limit = if round.dropped {
            self.limit.saturating_sub((self.limit / 10).max(1))
        } else if near_limit(round.in_flight, self.limit) {
            self.target(round)
        } else {
            self.limit
        };
        self.limit = self.bounds.keep(limit);
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float cast saturates, and nothing here is negative"
    )]
    fn target(&self, round: Round) -> u32 {
        let baseline = self.rounds.baseline().unwrap_or(round.rtt);
        let gradient = (1.0 + self.buffer.as_f64()) * baseline / round.rtt;
        let allowed = f64::from(self.limit) * gradient.clamp(0.5, 2.0);
        (allowed + allowed.sqrt()) as u32
    }
}

impl Adapt for Gradient {
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

impl Default for Gradient {
    fn default() -> Self {
        Self {
            bounds: Bounds::DEFAULT,
            rounds: Rounds::DEFAULT,
            limit: Bounds::DEFAULT.initial,
            buffer: Ratio::percent(25),
        }
    }
}
