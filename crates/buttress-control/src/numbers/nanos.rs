use std::time::Duration;

/// A point in time: nanoseconds since an epoch of the caller's choice.
///
/// The epoch is often the creation of a layer. All calls on a law must use the same epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(u64);

impl Nanos {
    /// This many nanoseconds after the epoch.
    #[inline]
    pub const fn new(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The nanoseconds since the epoch.
    #[inline]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// The time this long after the epoch. More than 584 years count as 584 years.
impl From<Duration> for Nanos {
    #[inline]
    fn from(since_epoch: Duration) -> Self {
        Self(saturating_nanos(since_epoch))
    }
}

/// The whole duration in nanoseconds, at most `u64::MAX` (584 years).
#[inline]
pub(crate) const fn saturating_nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos() as u64)
}

/// The duration in nanoseconds.
#[expect(clippy::cast_precision_loss, reason = "exact up to 104 days, then off by a part in 2^53")]
pub(crate) const fn to_float(duration: Duration) -> f64 {
    saturating_nanos(duration) as f64
}

/// The duration of this many nanoseconds.
pub(crate) fn from_float(nanos: f64) -> Duration {
    Duration::from_nanos(whole_nanos(nanos))
}

/// The nearest whole number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and takes NaN and what is below zero to zero"
)]
pub(crate) fn whole_nanos(nanos: f64) -> u64 {
    nanos.round() as u64
}
