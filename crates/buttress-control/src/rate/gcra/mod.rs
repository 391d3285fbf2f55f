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

/// A rate limit: the generic cell rate algorithm, in its virtual scheduling form.
///
/// In any window there pass at most `rate · window + burst` cells, whoever asks and however often. There
/// are no fixed windows, and so no moment at which two bursts meet. The law is that of [ITU-T I.371][itu],
/// annex A, as [governor] has it, with the reservations of Go's [`x/time/rate`][go].
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
/// A cell is granted at the first whole nanosecond at which it is due. Where a rate does not divide the
/// second, the time between two cells is rounded up to a sixteenth of a nanosecond. A time before that of
/// an earlier call sees less and gets no more. Time ends 36 years after the epoch: later times count as
/// that, and nothing that does not fit before it is granted.
///
/// # Reservations
///
/// Cells are given out in the order of the calls, reserved ones too: whoever comes later acts later,
/// unless a cancel has made room. [`Gcra::cancel`] gives back what was reserved, less what was reserved
/// after it, for that keeps its time.
///
/// # Sharing
///
/// One atomic word, which a denial only reads. A cancel and a change of the rate exclude one another for
/// some arithmetic; nobody who takes or reserves waits for them.
///
/// [itu]: https://www.itu.int/rec/T-REC-I.371
/// [governor]: https://docs.rs/governor/latest/governor/_guide/index.html
/// [go]: https://pkg.go.dev/golang.org/x/time/rate
// The cell rate shares the cache line of its word, because each call reads both.
#[derive(Debug)]
#[repr(align(128))]
pub struct Gcra {
    /// The theoretical arrival time: when all that was granted will have been earned again.
    tat: AtomicU64,
    interval: AtomicU64,
    burst: AtomicU32,
    /// How often the rate was changed; written under the lock, as is `restored`.
    changes: AtomicU32,
    /// How far cancels have moved the arrival time back from under later grants. Its sum with `tat` is
    /// what it would be without them, and tells how much was granted since a reservation.
    restored: AtomicU64,
    rate: Mutex<Current>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    rate: Rate,
    /// The cell rate that cells are earned at: the rate's, or that of the last one which was not 0.
    earning: CellRate,
}

impl Gcra {
    /// A limit to this rate, with its whole burst there.
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

    /// The rate it limits to.
    pub fn rate(&self) -> Rate {
        lock(&self.rate).rate
    }

    /// Takes so many cells now if they are all there, and nothing if not.
    ///
    /// No cells are always there.
    #[inline]
    pub fn take(&self, now: Nanos, cells: u32) -> Result<(), Denied> {
        if cells == 0 { Ok(()) } else { self.book(now, cells, 0).map(drop) }
    }

    /// Sets so many cells aside for the time when they are all there, after everybody who came before.
    ///
    /// Refused, with nothing taken, when that is more than `patience` from now.
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

    /// How many cells can be taken now.
    pub fn tokens(&self, now: Nanos) -> u32 {
        let (cell_rate, now) = (self.cell_rate(), sixteenths(now));
        let backlog = self.tat.load(Relaxed).saturating_sub(now);
        // As many as end less than a nanosecond after the burst does.
        let free = (cell_rate.span(cell_rate.burst).saturating_add(NANO - 1)).checked_sub(backlog);
        let tokens =
            free.map_or(0, |free| free.checked_div(cell_rate.interval).unwrap_or(u64::MAX));
        u32::try_from(tokens).unwrap_or(u32::MAX).min(cell_rate.burst)
    }

    /// Whether so many cells can be there at once, now or later. True at a rate of 0, which may be raised.
    ///
    /// Unlike [`Denied::Never`] it takes no part of one rate for another while the rate is changed.
    pub fn fits(&self, cells: u32) -> bool {
        let Current { rate, earning } = *lock(&self.rate);
        rate.count() == 0 || cells <= earning.burst
    }

    /// How long until the whole burst is there again.
    pub fn full_in(&self, now: Nanos) -> Duration {
        let backlog = self.tat.load(Relaxed).saturating_sub(sixteenths(now));
        Duration::from_nanos(backlog.div_ceil(NANO))
    }

    /// Whether the whole burst is there, so that a new limit to the same rate would do as well.
    #[inline]
    pub fn is_fresh(&self, now: Nanos) -> bool {
        self.tat.load(Relaxed) <= sixteenths(now)
    }

    /// Returns the time until so many cells are there for a caller behind others that take `ahead` cells
    /// first, each as soon as it can. Takes nothing.
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
        let mut before = self.tat.load(Relaxed);
        loop {
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

    /// To be read before cells are taken: what is missed here is taken for granted since, and not
    /// given back. The other way round, too much would be.
    fn stamp(&self) -> BookingStamp {
        BookingStamp { changes: self.changes.load(Acquire), restored: self.restored.load(Acquire) }
    }

    #[inline]
    fn cell_rate(&self) -> CellRate {
        // In the other order than they are stored in.
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
