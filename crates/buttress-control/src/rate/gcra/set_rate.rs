use super::{Gcra, sixteenths};
use crate::rate::CellRate;
use crate::sync::atomic::Ordering::{Relaxed, Release};
use crate::sync::lock;
use crate::{Nanos, Rate};

impl Gcra {
    /// Limits to another rate from now on.
    ///
    /// The cells that were taken stay taken: four of a burst of ten are four of the next one, and earned
    /// again at the new rate. If they are more than the next burst holds, that burst is empty: 1,000 cells
    /// taken at 1,000 a second are 10 at 10 a second, and the next cell comes after 100 ms. Cells that were
    /// reserved ahead count in full. Reservations keep their times, and give back nothing when they are
    /// cancelled later. A rate of 0 earns on at the rate before it. A call at the same moment may be judged
    /// by parts of both rates.
    pub fn set_rate(&self, now: Nanos, rate: Rate) {
        let mut current = lock(&self.rate);
        let (before, after) = (current.earning, rate.cell_rate());
        current.rate = rate;
        if after.burst > 0 {
            self.rescale(sixteenths(now), before, after);
            // After the backlog is rescaled: a call that sees this interval must see that backlog.
            self.interval.store(after.interval, Release);
            current.earning = after;
        }
        // Last, so that no call sees the burst of this rate with an interval before it: that of a rate of
        // 0, say, at which a cell costs nothing.
        self.burst.store(after.burst, Release);
        self.changes.store(self.changes.load(Relaxed).wrapping_add(1), Release);
    }

    /// Counts the cells that were taken at the rate before at the one after.
    fn rescale(&self, now: u64, before: CellRate, after: CellRate) {
        let mut tat = self.tat.load(Relaxed);
        while before.interval > 0 && tat > now {
            let backlog = tat - now;
            // What lies beyond the burst before was reserved ahead, and is owed whatever the burst.
            let (taken, ahead) = match backlog.checked_sub(before.span(before.burst)) {
                Some(ahead) => (backlog - ahead, ahead),
                None => (backlog, 0),
            };
            let taken = convert(taken, before, after).min(after.span(after.burst));
            let owed = taken.saturating_add(convert(ahead, before, after));
            match self.tat.compare_exchange_weak(tat, now.saturating_add(owed), Relaxed, Relaxed) {
                Ok(_) => return,
                Err(seen) => tat = seen,
            }
        }
    }
}

/// How long the cells that take `time` at one rate take at another.
fn convert(time: u64, before: CellRate, after: CellRate) -> u64 {
    let time = u128::from(time) * u128::from(after.interval);
    u64::try_from(time.div_ceil(u128::from(before.interval.max(1)))).unwrap_or(u64::MAX)
}
