use std::time::Duration;

use crate::seeded_random::SeededRandom;

/// A distribution of service times or gaps in a [`Queueing`](crate::Queueing), by its mean.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Times {
    /// Always the same.
    Constant(Duration),
    /// Memoryless, like the arrival of calls of many users: the standard deviation equals the mean.
    Exponential(Duration),
    /// Mostly short and sometimes very long. With a `sigma` of 1 the standard deviation is 1.3
    /// times the mean, and one in a hundred takes 6 times the mean.
    LogNormal {
        /// The mean, not the median.
        mean: Duration,
        /// The standard deviation of the logarithm.
        sigma: f64,
    },
}

impl Times {
    /// The next time, in nanoseconds.
    pub(crate) fn draw(self, random: &mut SeededRandom) -> u64 {
        match self {
            Self::Constant(time) => nanos(float(time)),
            Self::Exponential(mean) => nanos(-random.uniform().ln() * float(mean)),
            Self::LogNormal { mean, sigma } => {
                let log = sigma * random.normal() - sigma * sigma / 2.0;
                nanos(log.exp() * float(mean))
            }
        }
    }
}

fn float(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and takes NaN to zero"
)]
fn nanos(float: f64) -> u64 {
    float.round() as u64
}
