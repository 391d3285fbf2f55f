mod gcra;
mod lease;
mod rates;
mod reservation;
mod share;

use std::time::Duration;

use crate::numbers::nanos::saturating_nanos;

pub use self::gcra::Gcra;
pub use self::lease::{
    Lease, LeaseDemand, LeaseKind, LeaseRefill, LeaseReply, LeaseRules, LeasedCells, LeasedRate,
};
pub use self::rates::Rates;
pub use self::reservation::{Denied, Reservation};

/// How many cells pass in a period, and how many of them at once.
///
/// A cell is the unit that is counted: for example a request, or a kilobyte of a request.
///
/// ```
/// use std::time::Duration;
/// use buttress_control::Rate;
///
/// let rate = Rate::per_second(100).burst(10);
/// assert_eq!(rate, Rate::new(100, Duration::from_secs(1)).burst(10));
/// ```
///
/// # Burst
///
/// The burst is the number of cells that pass at a single moment after a rest. Default: the count.
/// In any window at most `rate · window + burst` cells pass. So a rate of `n` per second with a
/// burst of 1 lets at most `n + 1` cells pass in any second.
///
/// # Bounds
///
/// A count of 0 lets nothing pass, whatever the period. Otherwise a period of zero is no limit at
/// all. The time between two cells is kept in sixteenths of a nanosecond, rounded up. More than 18
/// years count as 18 years. A burst that takes more than 18 years to come back counts as the cells
/// of 18 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias("rate limiter", "leaky bucket", "token bucket"))]
pub struct Rate {
    count: u32,
    burst: u32,
    period: Duration,
}

impl Rate {
    /// `count` cells per second, evenly spread, after a burst of as many.
    pub const fn per_second(count: u32) -> Self {
        Self::new(count, Duration::from_secs(1))
    }

    /// `count` cells per minute, after a burst of as many.
    pub const fn per_minute(count: u32) -> Self {
        Self::new(count, Duration::from_secs(60))
    }

    /// `count` cells per hour, after a burst of as many.
    pub const fn per_hour(count: u32) -> Self {
        Self::new(count, Duration::from_secs(60 * 60))
    }

    /// `count` cells in each period, after a burst of as many.
    pub const fn new(count: u32, period: Duration) -> Self {
        Self { count, burst: count, period }.burst(count)
    }

    /// Sets the number of cells that pass at once after a rest. Default: the count. 0 counts as 1.
    pub const fn burst(mut self, cells: u32) -> Self {
        self.burst = if cells == 0 { 1 } else { cells };
        self
    }

    /// Returns the cells of a period.
    pub const fn count(self) -> u32 {
        self.count
    }

    /// Returns the time in which the count passes.
    pub const fn period(self) -> Duration {
        self.period
    }

    /// Returns the cells that pass at once after a rest, at least 1.
    pub const fn burst_size(self) -> u32 {
        self.burst
    }

    /// Returns the time between two cells, rounded up to a nanosecond. Zero if the period is zero, and
    /// [`Duration::MAX`] if the count is 0.
    pub fn interval(self) -> Duration {
        if self.count == 0 {
            return Duration::MAX;
        }
        Duration::from_nanos(self.cell_rate().interval.div_ceil(1 << FRACTION_BITS))
    }

    /// The rate as the cell rate algorithm reads it.
    pub(crate) fn cell_rate(self) -> CellRate {
        if self.count == 0 {
            return CellRate { interval: 0, burst: 0 };
        }
        let period = u128::from(saturating_nanos(self.period)) << FRACTION_BITS;
        let interval = u64::try_from(period.div_ceil(u128::from(self.count)));
        let interval = interval.unwrap_or(LONGEST).min(LONGEST);
        let fitting = LONGEST.checked_div(interval).unwrap_or(u64::MAX);
        let burst = if interval == 0 { u32::MAX } else { self.burst };
        CellRate { interval, burst: u32::try_from(fitting).unwrap_or(u32::MAX).min(burst) }
    }
}

/// The rate of the cell rate algorithm. A burst of 0 lets nothing pass, an interval of 0
/// everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CellRate {
    /// The time between two cells, in sixteenths of a nanosecond.
    pub(crate) interval: u64,
    pub(crate) burst: u32,
}

impl CellRate {
    /// The time in which this many cells come.
    #[inline]
    pub(crate) fn span(self, cells: u32) -> u64 {
        // Saturating, because a concurrent `set_rate` can show parts of two rates. Otherwise a
        // burst never takes more than `LONGEST`.
        self.interval.saturating_mul(u64::from(cells))
    }
}

/// Time is kept in sixteenths of a nanosecond, for rates that do not divide a second.
pub(crate) const FRACTION_BITS: u32 = 4;

/// Half of the time that a word holds, 18 years.
const LONGEST: u64 = 1 << 63;
