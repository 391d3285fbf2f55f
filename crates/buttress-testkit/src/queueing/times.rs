use std::time::Duration;

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

/// `SplitMix64`: the same seed gives the same draws, on every machine and in every version.
#[derive(Clone, Debug)]
pub(crate) struct SeededRandom(u64);

impl SeededRandom {
    pub(crate) const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// A draw from (0, 1], so that its logarithm exists.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// A standard normal draw (Box and Muller).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
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
