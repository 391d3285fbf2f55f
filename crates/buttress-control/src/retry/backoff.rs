use std::time::Duration;

use crate::Ratio;
use crate::numbers::nanos::saturating_nanos;

/// The delay before each retry: a curve, a cap and a jitter.
///
/// ```
/// use std::time::Duration;
/// use buttress_control::{Backoff, Delays, Jitter};
///
/// let backoff = Backoff::exponential(Duration::from_secs(1), Duration::from_secs(3)).jitter(Jitter::None);
/// let mut delays = Delays::new();
/// let seconds = [0; 4].map(|_| backoff.next(&mut delays, 0.5).as_secs());
/// assert_eq!(seconds, [1, 2, 3, 3]);
/// ```
///
/// # Bounds
///
/// No delay is longer than the cap, whatever the draw. A base above the cap counts as the cap.
/// Full, equal and proportional jitter also spread the delay at the cap, so callers that reached
/// the cap do not return together. The retry number saturates. There is no overflow, and no delay
/// is undefined.
///
/// # Defaults
///
/// `Backoff::default()` is exponential from 1 s to 10 s, doubling, with full jitter.
#[derive(Clone, Copy, Debug, PartialEq)]
#[doc(alias("exponential backoff", "delay"))]
pub struct Backoff {
    base: u64,
    max: u64,
    curve: BackoffCurve,
    jitter: Jitter,
}

impl Backoff {
    /// `base`, doubled at every retry up to `max`, with [`Jitter::Full`].
    pub const fn exponential(base: Duration, max: Duration) -> Self {
        Self::new(base, max, BackoffCurve::Exponential(2.0), Jitter::Full)
    }

    /// `base`, then twice, three times … `base` up to `max`, with [`Jitter::Full`].
    pub const fn linear(base: Duration, max: Duration) -> Self {
        Self::new(base, max, BackoffCurve::Linear, Jitter::Full)
    }

    /// The same delay before every retry, without jitter unless [`Backoff::jitter`] sets one.
    pub const fn constant(delay: Duration) -> Self {
        Self::new(delay, Duration::MAX, BackoffCurve::Constant, Jitter::None)
    }

    /// Between `base` and three times the delay before, up to `max`: the decorrelated jitter of
    /// [Exponential Backoff And Jitter][aws], AWS Architecture Blog, 2015.
    ///
    /// Once the delays reach `max`, two draws in three are `max` itself.
    ///
    /// [aws]: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    pub const fn decorrelated(base: Duration, max: Duration) -> Self {
        Self::new(base, max, BackoffCurve::Decorrelated, Jitter::None)
    }

    /// A smooth spread whose medians lie near `base`, doubled at every retry, up to `max`: Polly's
    /// [`DecorrelatedJitterBackoffV2`][polly].
    ///
    /// Far above `max` every delay is `max`.
    ///
    /// [polly]: https://github.com/App-vNext/Polly/blob/main/src/Polly.Core/Retry/RetryHelper.cs
    pub const fn decorrelated_v2(base: Duration, max: Duration) -> Self {
        Self::new(base, max, BackoffCurve::DecorrelatedV2, Jitter::None)
    }

    /// No delay.
    pub const fn none() -> Self {
        Self::constant(Duration::ZERO)
    }

    /// Sets the jitter: how the delay is spread around or below its curve.
    ///
    /// The two decorrelated backoffs are their own jitter and ignore this option.
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets the factor of an exponential backoff per retry. Default: 2.
    ///
    /// A factor below 1, negative or NaN counts as 1. With an infinite factor, every delay after
    /// the first is the cap. The other curves ignore this option.
    pub const fn factor(mut self, factor: f64) -> Self {
        if let BackoffCurve::Exponential(_) = self.curve {
            self.curve = BackoffCurve::Exponential(if factor >= 1.0 { factor } else { 1.0 });
        }
        self
    }

    /// Sets the base and the cap, and keeps curve, factor and jitter.
    ///
    /// The base of a constant backoff is its delay.
    pub const fn between(mut self, base: Duration, cap: Duration) -> Self {
        self.base = saturating_nanos(base);
        self.max = saturating_nanos(cap);
        self
    }

    /// Returns the cap, as it was given: 584 years if there is none.
    pub const fn cap(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// Returns the delay before the next retry of the call that `delays` belongs to.
    ///
    /// `random` is a uniform draw from `[0, 1)`, a new draw for each delay. A number outside counts
    /// as the nearer end, NaN as 0.
    pub fn next(&self, delays: &mut Delays, random: f64) -> Duration {
        let random = if random >= 0.0 { random.min(1.0) } else { 0.0 };
        let delay = match self.curve {
            BackoffCurve::Decorrelated => self.decorrelated_delay(delays, random),
            BackoffCurve::DecorrelatedV2 => self.decorrelated_v2_delay(delays, random),
            _ => self.spread(self.ceiling(delays.retries), random),
        };
        delays.retries = delays.retries.saturating_add(1);
        Duration::from_nanos(delay.min(self.max))
    }

    /// Returns the delay that the curve begins with, which the cap may cut.
    pub const fn base(&self) -> Duration {
        Duration::from_nanos(self.base)
    }

    /// Returns the longest delay.
    pub fn max(&self) -> Duration {
        match self.curve {
            // The cap is far above a delay that never grows.
            BackoffCurve::Constant => Duration::from_nanos(self.spread(self.ceiling(0), 1.0)),
            _ => Duration::from_nanos(self.max),
        }
    }

    /// Returns the first delay without jitter.
    pub fn first(&self) -> Duration {
        Duration::from_nanos(self.ceiling(0))
    }

    const fn new(base: Duration, max: Duration, curve: BackoffCurve, jitter: Jitter) -> Self {
        Self { base: saturating_nanos(base), max: saturating_nanos(max), curve, jitter }
    }

    /// The curve at this retry, counted from 0, under the cap.
    fn ceiling(&self, retry: u32) -> u64 {
        let delay = match self.curve {
            BackoffCurve::Linear => self.base.saturating_mul(u64::from(retry) + 1),
            // Zero times an infinite power would be NaN.
            BackoffCurve::Exponential(factor) if self.base > 0 => {
                nanos(float(self.base) * factor.powi(i32::try_from(retry).unwrap_or(i32::MAX)))
            }
            _ => self.base,
        };
        delay.min(self.max)
    }

    fn spread(&self, ceiling: u64, random: f64) -> u64 {
        let top = float(ceiling);
        match self.jitter {
            Jitter::None => ceiling,
            Jitter::Full => nanos(top * random),
            Jitter::Equal => nanos(top * f64::midpoint(1.0, random)),
            // Polly's `ApplyJitter`, centred. The upper end is cut to the cap before the draw.
            // Otherwise half of all delays at the cap would be equal.
            Jitter::Proportional(ratio) => {
                let low = (top * (1.0 - ratio.as_f64())).max(0.0);
                let high = (top * (1.0 + ratio.as_f64())).min(float(self.max));
                nanos(low + (high - low) * random)
            }
        }
    }

    /// `sleep = min(cap, random_between(base, sleep * 3))`, with `sleep` starting as `base`.
    fn decorrelated_delay(&self, delays: &mut Delays, random: f64) -> u64 {
        let base = float(self.base);
        let before = if delays.retries == 0 { base } else { delays.memory };
        let high = (before * 3.0).max(base);
        let delay = (base + (high - base) * random).min(float(self.max));
        delays.memory = delay;
        nanos(delay)
    }

    /// `2^t * tanh(sqrt(4 t)) - before`, with `t = retry + random`, scaled by `base / 1.4`.
    fn decorrelated_v2_delay(&self, delays: &mut Delays, random: f64) -> u64 {
        if self.base == 0 {
            return 0;
        }
        if delays.retries >= V2_SATURATED {
            return self.max;
        }
        let t = f64::from(delays.retries) + random;
        let reached = t.exp2() * (4.0 * t).sqrt().tanh();
        let step = (reached - delays.memory).max(0.0);
        delays.memory = reached;
        nanos(step / 1.4 * float(self.base))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::exponential(Duration::from_secs(1), Duration::from_secs(10))
    }
}

/// How a delay is spread, so that callers that failed together do not return together.
///
/// In the formulas, `d` is the delay of the curve under the cap and `r` the draw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[doc(alias("full jitter", "decorrelated jitter"))]
#[non_exhaustive]
pub enum Jitter {
    /// `d`, the same for all callers.
    None,
    /// `r · d`: anything up to the delay. As in [Exponential Backoff And Jitter][aws], and as
    /// [Envoy][envoy] draws it.
    ///
    /// [aws]: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    /// [envoy]: https://github.com/envoyproxy/envoy/blob/main/source/common/common/backoff_strategy.cc
    #[default]
    Full,
    /// `d / 2 + r · d / 2`: at least half of the delay, from the same article.
    Equal,
    /// `d · (1 − p) + r · 2 p d`: the delay plus or minus a share of it, 25 % in [Polly][polly].
    /// The upper end is never above the cap, the lower never below zero.
    ///
    /// [polly]: https://github.com/App-vNext/Polly/blob/main/src/Polly.Core/Retry/RetryHelper.cs
    Proportional(Ratio),
}

/// The progress of a call through its [`Backoff`]. Each call needs a new value.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Delays {
    /// The former delay in nanoseconds (decorrelated), or the former value of the curve (version
    /// 2).
    memory: f64,
    retries: u32,
}

impl Delays {
    /// Creates the state before the first retry.
    pub const fn new() -> Self {
        Self { memory: 0.0, retries: 0 }
    }

    /// Returns the number of delays drawn.
    pub const fn retries(&self) -> u32 {
        self.retries
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum BackoffCurve {
    Constant,
    Linear,
    Exponential(f64),
    Decorrelated,
    DecorrelatedV2,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "exact up to 104 days; beyond, a delay is off by a part in 2^53"
)]
fn float(nanos: u64) -> f64 {
    nanos as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and nothing passed is negative or NaN"
)]
fn nanos(float: f64) -> u64 {
    float.round() as u64
}

/// From this retry on, even a base of one nanosecond is beyond every cap. Later the powers become
/// infinite, and their difference NaN.
const V2_SATURATED: u32 = 64;
