use super::{Gcra, sixteenths};
use crate::rate::CellRate;
use crate::sync::atomic::Ordering::{Relaxed, Release};
use crate::sync::lock;
use crate::{Nanos, Rate};

impl Gcra {
    /// Sets the rate.
    ///
    /// Cells that were taken stay taken: four of a burst of ten are four of the next burst, and are
    /// earned again at the new rate. If they are more than the next burst holds, that burst is
    /// empty. Example: 1,000 cells taken at 1,000 per second are 10 at 10 per second, and the next
    /// cell comes after 100 ms. Cells that were reserved ahead count in full. Reservations keep
    /// their times, and give back nothing when they are cancelled later. A rate of 0 keeps earning
    /// at the former rate. A concurrent call may be judged by parts of both rates.
    pub fn set_rate(&self, now: Nanos, rate: Rate) {
        let mut current = lock(&self.rate);
        let (before, after) = (current.earning, rate.cell_rate());
        current.rate = rate;
        if after.burst > 0 {
            self.rescale(sixteenths(now), before, after);
            // Must run after `rescale`: a call in `cell_rate` that sees this interval must see the
            // rescaled backlog.
            self.interval.store(after.interval, Release);
            current.earning = after;
        }
        // Must run last: a call must not see this burst with the former interval. A rate that began
        // at 0 has an interval of 0, at which a cell costs nothing.
        self.burst.store(after.burst, Release);
        // Release, paired with the acquire in `stamp`: a reservation with the new number was booked
        // on the rescaled backlog. One with the former number gives back nothing in `restore`.
        self.changes.store(self.changes.load(Relaxed).wrapping_add(1), Release);
    }

    /// Converts the cells taken at the former rate to the new rate.
    fn rescale(&self, now: u64, before: CellRate, after: CellRate) {
        // The lock excludes `restore`. Grants go on meanwhile, so this is a compare-and-swap.
        let mut tat = self.tat.load(Relaxed);
        while before.interval > 0 && tat > now {
            let backlog = tat - now;
            // Cells beyond the former burst were reserved ahead, and stay owed whatever the burst.
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

/// The time at the new rate of the cells that take `time` at the former rate.
fn convert(time: u64, before: CellRate, after: CellRate) -> u64 {
    let time = u128::from(time) * u128::from(after.interval);
    u64::try_from(time.div_ceil(u128::from(before.interval.max(1)))).unwrap_or(u64::MAX)
}
