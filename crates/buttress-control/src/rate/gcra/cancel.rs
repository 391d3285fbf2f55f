use super::{Booking, Gcra};
use crate::rate::reservation::ReservedCells;
use crate::sync::atomic::Ordering::{Relaxed, Release};
use crate::sync::lock;
use crate::{Denied, Nanos, Reservation};

impl Gcra {
    /// Gives back a reservation whose caller will not act.
    ///
    /// This is `CancelAt` of Go's [`x/time/rate`][go]: what was granted after it keeps its time and is not
    /// given back with it, so the last one comes back whole. After its time it comes back whole if nothing
    /// was granted since, and otherwise not at all, because the burst may have been full without it. Call
    /// it once, and only if the caller has not acted.
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

    /// Takes cells, at least one, at a time that may lie in the future; for [`Gcra::release`].
    pub(crate) fn hold(&self, at: Nanos, cells: u32) -> Result<ReservedCells, Denied> {
        let stamp = self.stamp();
        let Booking { before, end, .. } = self.book(at, cells, 0)?;
        // Up to a future time nothing has been earned yet; that comes back too.
        Ok(ReservedCells { end, cost: end - before, stamp })
    }

    /// Gives back reserved cells if nothing was granted after them.
    ///
    /// The others cannot be moved: of several rates each was told the time of the slowest, which may be
    /// just when the cells of this one are due.
    pub(crate) fn release(&self, reserved: &ReservedCells) {
        self.restore(reserved, |since| if since == 0 { reserved.cost } else { 0 });
    }

    /// Moves the arrival time back by what `share` says, given how much was granted since the cells
    /// were reserved.
    fn restore(&self, reserved: &ReservedCells, share: impl Fn(u64) -> u64) {
        let _one_at_a_time = lock(&self.rate);
        let restored = self.restored.load(Relaxed);
        if reserved.stamp.changes != self.changes.load(Relaxed) {
            return;
        }
        let mut tat = self.tat.load(Relaxed);
        loop {
            let passed = tat.wrapping_sub(reserved.end);
            let since = passed.wrapping_add(restored.wrapping_sub(reserved.stamp.restored));
            let back = share(since).min(tat);
            if back == 0 {
                return;
            }
            match self.tat.compare_exchange_weak(tat, tat - back, Relaxed, Relaxed) {
                // The last one leaves as if it had never been, and so makes the one before it the last.
                Ok(_) if since == 0 => return,
                Ok(_) => return self.restored.store(restored.wrapping_add(back), Release),
                Err(seen) => tat = seen,
            }
        }
    }
}
