use super::{Booking, Gcra};
use crate::rate::reservation::ReservedCells;
use crate::sync::atomic::Ordering::{Relaxed, Release};
use crate::sync::lock;
use crate::{Denied, Nanos, Reservation};

impl Gcra {
    /// Gives back a reservation whose caller will not act.
    ///
    /// This is `CancelAt` of Go's [`x/time/rate`][go]. Cells granted after the reservation keep
    /// their time and are not given back with it, so the last reservation comes back whole. After
    /// its time, a reservation comes back whole if nothing was granted since. Otherwise nothing
    /// comes back, because the burst may have been full without it. Call this once, and only if the
    /// caller has not acted.
    ///
    /// [go]: https://pkg.go.dev/golang.org/x/time/rate#Reservation.CancelAt
    pub fn cancel(&self, now: Nanos, reservation: &Reservation) {
        let ReservedCells { cost, .. } = reservation.first;
        if now <= reservation.at() {
            self.restore(&reservation.first, |since| cost.saturating_sub(since));
        } else {
            self.release(&reservation.first);
        }
    }

    /// Takes cells, at least one, at a time that may lie in the future. [`Gcra::release`] gives
    /// them back.
    pub(crate) fn hold(&self, at: Nanos, cells: u32) -> Result<ReservedCells, Denied> {
        let stamp = self.stamp();
        let Booking { before, end, .. } = self.book(at, cells, 0)?;
        // The time up to a future `at` is part of the cost and comes back too.
        Ok(ReservedCells { end, cost: end - before, stamp })
    }

    /// Gives back reserved cells if nothing was granted after them.
    ///
    /// Other cells cannot be moved. With several rates each call was told the time of the slowest
    /// rate. That may be exactly when the cells of this rate are due.
    pub(crate) fn release(&self, reserved: &ReservedCells) {
        self.restore(reserved, |since| if since == 0 { reserved.cost } else { 0 });
    }

    /// Moves the arrival time back by the result of `share`, which gets how much was granted since
    /// the cells were reserved.
    fn restore(&self, reserved: &ReservedCells, share: impl Fn(u64) -> u64) {
        // The lock excludes other cancels and `set_rate`, which write `restored` and `changes`.
        // Grants go on meanwhile, so `tat` needs a compare-and-swap.
        let _one_at_a_time = lock(&self.rate);
        let restored = self.restored.load(Relaxed);
        if reserved.stamp.changes != self.changes.load(Relaxed) {
            return;
        }
        let mut tat = self.tat.load(Relaxed);
        loop {
            // What was granted since: how far `tat` has moved, and how far cancels have moved it
            // back.
            let passed = tat.wrapping_sub(reserved.end);
            let since = passed.wrapping_add(restored.wrapping_sub(reserved.stamp.restored));
            let back = share(since).min(tat);
            if back == 0 {
                return;
            }
            match self.tat.compare_exchange_weak(tat, tat - back, Relaxed, Relaxed) {
                // The last reservation leaves no trace, so the reservation before it is the last
                // again.
                Ok(_) if since == 0 => return,
                // Must run after `tat` has moved. A `stamp` that misses it counts the way back as a
                // later grant, and too little comes back. The other way round it would be too much.
                Ok(_) => return self.restored.store(restored.wrapping_add(back), Release),
                Err(seen) => tat = seen,
            }
        }
    }
}
