use std::time::Duration;

use crate::seeded_random::SeededRandom;

/// The distribution of the latency, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Latency {
    Uniform { min: f64, width: f64 },
    LogNormal { median: f64, sigma: f64 },
}

impl Latency {
    pub(super) const NONE: Self = Self::Uniform { min: 0.0, width: 0.0 };

    pub(super) fn uniform(min: Duration, max: Duration) -> Self {
        Self::Uniform { min: micros(min), width: micros(max.saturating_sub(min)) }
    }

    pub(super) fn lognormal(p50: Duration, p99: Duration) -> Self {
        let (median, p99) = (micros(p50), micros(p99.max(p50)));
        let sigma = if median > 0.0 { (p99 / median).ln() / NORMAL_P99 } else { 0.0 };
        Self::LogNormal { median, sigma }
    }

    /// Draws a latency, times `factor`, in whole microseconds.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float cast saturates, and takes NaN to zero"
    )]
    pub(super) fn draw(self, random: &mut SeededRandom, factor: f64) -> Duration {
        let micros = match self {
            Self::Uniform { min, width } => min + width * random.uniform(),
            Self::LogNormal { median, sigma } => median * (sigma * random.normal()).exp(),
        };
        Duration::from_micros((micros * factor).round() as u64)
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The 99th percentile of the standard normal distribution.
const NORMAL_P99: f64 = 2.326_347_874_040_841;
