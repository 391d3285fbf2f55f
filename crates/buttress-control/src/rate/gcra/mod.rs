mod cancel;
mod set_rate;

use std::time::Duration;

use super::reservation::{BookingStamp, ReservedCells};
use super::{CellRate, FRACTION_BITS};
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed},
};
use crate::sync::{Mutex, lock};
use crate::{Denied, Nanos, Rate, Reservation};

/// A rate limit by the generic cell rate algorithm, in its virtual scheduling form.
///
/// In any window at most `rate · window + burst` cells pass, from all callers together. The window
/// counts up to a nanosecond longer, see [Time](#time). There are no fixed windows, and so no moment
/// at which two bursts meet. The law is that of [ITU-T
/// I.371][itu], annex A, in the form of [governor], with the reservations of Go's
/// [`x/time/rate`][go].
///
/// ```
/// use std::time::Duration;
/// use buttress_control::{Denied, Gcra, Nanos, Rate};
///
/// let limit = Gcra::new(Rate::per_second(2));
/// let now = Nanos::new(0);
/// assert!(limit.take(now, 2).is_ok());
/// assert_eq!(limit.take(now, 1), Err(Denied::After(Duration::from_millis(500))));
///
/// let reservation = limit.reserve(now, 1, Duration::from_secs(1));
/// assert_eq!(reservation.map(|one| one.at()), Ok(Nanos::from(Duration::from_millis(500))));
/// ```
///
/// # Time
///
/// A cell is granted in the nanosecond in which it is due, so up to 15/16 of a nanosecond early.
/// Rounded up instead, each late grant would delay the cells after it, and a limit with a burst of 1
/// would stay below its rate. If a rate does not divide the second, the time between two cells is
/// rounded up to a sixteenth of a nanosecond. A time
/// before that of an earlier call sees less and gets no more. Time ends 36 years after the epoch.
/// Later times count as that end, and cells that do not fit before it are not granted.
///
/// # Reservations
///
/// Cells are granted in the order of the calls, and so are reserved cells. A later call acts later,
/// unless a cancel has made room. [`Gcra::cancel`] gives back the reserved cells, less the cells
/// reserved after them, because those keep their time.
///
/// # Sharing
///
/// A single atomic word, which a denial only reads. A cancel and a change of the rate exclude one
/// another for some arithmetic. No call that takes or reserves waits for them.
///
/// [itu]: https://www.itu.int/rec/T-REC-I.371
/// [governor]: https://docs.rs/governor/latest/governor/_guide/index.html
/// [go]: https://pkg.go.dev/golang.org/x/time/rate
// The cell rate shares the cache line of its word, because each call reads both.
#[derive(Debug)]
#[repr(align(128))]
pub struct Gcra {
    /// The theoretical arrival time: when all granted cells will have been earned again.
    tat: AtomicU64,
    interval: AtomicU64,
    burst: AtomicU32,
    /// The number of changes of the rate. Written under the lock, as is `restored`.
    changes: AtomicU32,
    /// How far cancels have moved the arrival time back from under later grants. Its sum with `tat`
    /// is the arrival time without cancels, and tells how much was granted since a reservation.
    restored: AtomicU64,
    /// Guards the writes of `interval`, `burst`, `changes` and `restored`. Only arithmetic runs
    /// under this lock, and no other lock is taken.
    rate: Mutex<Current>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    rate: Rate,
    /// The rate at which cells are earned: the present rate, or the last rate that was not 0.
    earning: CellRate,
}

impl Gcra {
    /// Creates a limit with its whole burst available.
    pub fn new(rate: Rate) -> Self {
        let cell_rate = rate.cell_rate();
        Self {
            tat: AtomicU64::new(0),
            interval: AtomicU64::new(cell_rate.interval),
            burst: AtomicU32::new(cell_rate.burst),
            changes: AtomicU32::new(0),
            restored: AtomicU64::new(0),
            rate: Mutex::new(Current { rate, earning: cell_rate }),
        }
    }

    /// Creates a limit whose whole burst is available after `full_in`. The cells that come in that
    /// time are taken already. A longer time than that of the whole burst counts as the whole burst.
    ///
    /// ```
    /// use std::time::Duration;
    /// use buttress_control::{Gcra, Nanos, Rate};
    ///
    /// let now = Nanos::new(0);
    /// let limit = Gcra::full_after(Rate::per_second(10), now, Duration::from_millis(300));
    /// assert_eq!(limit.tokens(now), 7);
    /// ```
    pub fn full_after(rate: Rate, now: Nanos, full_in: Duration) -> Self {
        let (mut limit, cell_rate) = (Self::new(rate), rate.cell_rate());
        let backlog = sixteenths(full_in.into()).min(cell_rate.span(cell_rate.burst));
        if backlog > 0 {
            limit.tat = AtomicU64::new(sixteenths(now).saturating_add(backlog));
        }
        limit
    }

    /// Returns the rate.
    pub fn rate(&self) -> Rate {
        lock(&self.rate).rate
    }

    /// Takes this many cells now if all of them are there. Otherwise takes none.
    ///
    /// Zero cells are always granted.
    #[inline]
    pub fn take(&self, now: Nanos, cells: u32) -> Result<(), Denied> {
        if cells == 0 { Ok(()) } else { self.book(now, cells, 0).map(drop) }
    }

    /// Reserves this many cells for the time when all of them are there, after all earlier calls.
    ///
    /// If that time is more than `patience` from now, the reservation is denied and no cells are
    /// taken.
    pub fn reserve(
        &self,
        now: Nanos,
        cells: u32,
        patience: Duration,
    ) -> Result<Reservation, Denied> {
        let stamp = self.stamp();
        if cells == 0 {
            return Ok(Reservation::new(
                now,
                ReservedCells { end: 0, cost: 0, stamp },
                Box::default(),
            ));
        }
        let patience = Nanos::from(patience).get();
        let Booking { wait, end, cost, .. } = self.book(now, cells, patience)?;
        let at = Nanos::new(now.get().saturating_add(wait));
        Ok(Reservation::new(at, ReservedCells { end, cost, stamp }, Box::default()))
    }

    /// Returns the number of cells that can be taken now.
    pub fn tokens(&self, now: Nanos) -> u32 {
        let (cell_rate, now) = (self.cell_rate(), sixteenths(now));
        let backlog = self.tat.load(Relaxed).saturating_sub(now);
        // The cells that end less than a nanosecond after the burst does.
        let free = (cell_rate.span(cell_rate.burst).saturating_add(NANO - 1)).checked_sub(backlog);
        let tokens =
            free.map_or(0, |free| free.checked_div(cell_rate.interval).unwrap_or(u64::MAX));
        u32::try_from(tokens).unwrap_or(u32::MAX).min(cell_rate.burst)
    }

    /// Returns whether this many cells can be there at once, now or later. True at a rate of 0,
    /// which may be raised.
    ///
    /// Unlike [`Denied::Never`], the result never mixes parts of two rates while the rate is
    /// changed.
    pub fn fits(&self, cells: u32) -> bool {
        let Current { rate, earning } = *lock(&self.rate);
        rate.count() == 0 || cells <= earning.burst
    }

    /// Returns the time until the whole burst is there again.
    pub fn full_in(&self, now: Nanos) -> Duration {
        let backlog = self.tat.load(Relaxed).saturating_sub(sixteenths(now));
        Duration::from_nanos(backlog.div_ceil(NANO))
    }

    /// Returns whether the whole burst is there, so that a new limit to the same rate would behave
    /// the same.
    #[inline]
    pub fn is_fresh(&self, now: Nanos) -> bool {
        self.tat.load(Relaxed) <= sixteenths(now)
    }

    /// Returns the time until this many cells are there for a caller behind others that take
    /// `ahead` cells first, each as soon as possible. Takes nothing.
    ///
    /// Zero if the cells are there now, or if `cells` is 0.
    pub fn wait_behind(&self, now: Nanos, ahead: u64, cells: u32) -> Result<Duration, Denied> {
        if cells == 0 {
            return Ok(Duration::ZERO);
        }
        let cell_rate = self.cell_rate();
        let spare = cell_rate.burst.checked_sub(cells).ok_or(Denied::Never)?;
        let backlog = self.tat.load(Relaxed).saturating_sub(sixteenths(now));
        let backlog = backlog.saturating_add(cell_rate.interval.saturating_mul(ahead));
        Ok(Duration::from_nanos(backlog.saturating_sub(cell_rate.span(spare)) / NANO))
    }

    #[inline]
    fn book(&self, now: Nanos, cells: u32, patience: u64) -> Result<Booking, Denied> {
        let (cell_rate, now) = (self.cell_rate(), sixteenths(now));
        let spare = cell_rate.burst.checked_sub(cells).ok_or(Denied::Never)?;
        let (room, cost) = (cell_rate.span(spare), cell_rate.span(cells));
        // Relaxed: the word is complete in itself and orders no other memory.
        let mut before = self.tat.load(Relaxed);
        loop {
            // Rounded down, so a cell is granted in the nanosecond in which it is due.
            let wait = before.saturating_sub(now).saturating_sub(room) / NANO;
            if wait > patience {
                return Err(Denied::After(Duration::from_nanos(wait)));
            }
            let end = before.max(now).checked_add(cost).ok_or(Denied::Never)?;
            match self.tat.compare_exchange_weak(before, end, Relaxed, Relaxed) {
                Ok(_) => return Ok(Booking { wait, before, end, cost }),
                Err(seen) => before = seen,
            }
        }
    }

    /// Must be read before cells are taken. A change that is missed here then counts as a later
    /// grant, and less is given back. In the other order, too much would be given back.
    // Acquire, paired with the releases in `restore` and `set_rate`: a stamp that counts a cancel
    // or a change is followed by a `book` that sees the `tat` of it.
    fn stamp(&self) -> BookingStamp {
        BookingStamp { changes: self.changes.load(Acquire), restored: self.restored.load(Acquire) }
    }

    #[inline]
    fn cell_rate(&self) -> CellRate {
        // Must be read in the reverse order of the stores in `set_rate`. Acquire pairs with the
        // releases there: a call that sees the new burst sees the new interval and the rescaled
        // backlog too.
        let burst = self.burst.load(Acquire);
        CellRate { interval: self.interval.load(Acquire), burst }
    }
}

struct Booking {
    /// Nanoseconds until the cells may be used.
    wait: u64,
    before: u64,
    end: u64,
    cost: u64,
}

#[inline]
fn sixteenths(time: Nanos) -> u64 {
    time.get().saturating_mul(NANO)
}

const NANO: u64 = 1 << FRACTION_BITS;
