//! The share of a replica in a rate, for the time without the store.

use std::time::Duration;

use super::Rate;
use super::lease::LeasedRate;
use crate::numbers::nanos::saturating_nanos;

impl Rate {
    /// Returns the rate of each of `replicas` replicas that share this rate evenly: the same count in
    /// `replicas` times the period, with an equal part of the burst, and at least 1.
    ///
    /// So more replicas than the burst has cells have a larger burst together. 0 replicas count as 1.
    ///
    /// ```
    /// use buttress_control::Rate;
    ///
    /// let share = Rate::per_second(100).share(4);
    /// assert_eq!(share.interval(), Rate::per_second(25).interval());
    /// assert_eq!(share.burst_size(), 25);
    /// ```
    pub fn share(self, replicas: u32) -> Self {
        let replicas = replicas.max(1);
        let burst = self.burst_size() / replicas;
        Self::new(self.count(), self.period().saturating_mul(replicas)).burst(burst)
    }
}

/// The nanoseconds of cells that a store's bucket holds which is full after this time.
pub(super) fn left(rate: LeasedRate, full_in: u64) -> u64 {
    rate.span(u64::from(rate.burst())).saturating_sub(full_in)
}

/// The time until a share is full that begins with its part of a bucket.
///
/// A cell of the share takes as many times the time of a cell of the bucket as there are replicas,
/// and the share has that part of the cells. So the nanoseconds are the same.
pub(super) fn full_in(share: Rate, left: u64) -> Duration {
    let burst = share.interval().saturating_mul(share.burst_size());
    Duration::from_nanos(saturating_nanos(burst).saturating_sub(left))
}

/// A backlog at the pace of another rate, with the same cells.
pub(super) fn rescale(backlog: u64, before: Duration, after: Duration) -> u64 {
    let before = u128::from(saturating_nanos(before).max(1));
    let rescaled = u128::from(backlog) * u128::from(saturating_nanos(after)) / before;
    u64::try_from(rescaled).unwrap_or(u64::MAX)
}
