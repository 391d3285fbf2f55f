use std::time::Duration;

use super::reservation::ReservedCells;
use crate::{Denied, Gcra, Nanos, Rate, Reservation};

/// Several rate limits at once, for example ten per second and a hundred per minute.
///
/// A call takes from all of them or from none. A single rate costs as much as a [`Gcra`].
///
/// ```
/// use std::time::Duration;
/// use buttress_control::{Denied, Nanos, Rate, Rates};
///
/// let limit = Rates::new(Rate::per_second(3)).and(Rate::per_minute(4));
/// let later = Nanos::from(Duration::from_secs(1));
/// assert!(limit.take(Nanos::new(0), 3).is_ok());
/// assert_eq!(limit.tokens(later), 1); // 3 of the second, 1 of the minute
/// assert_eq!(limit.take(later, 2), Err(Denied::After(Duration::from_secs(14))));
/// ```
///
/// # Sharing
///
/// A call reads all limits first, and then takes from each in turn. If another call was faster, the
/// call gives back what it took and starts over. Other calls may be denied meanwhile because of it.
/// Cells that another call took on top are not moved. In that case a cell can be lost until it is
/// earned again.
#[derive(Debug)]
pub struct Rates {
    first: Gcra,
    more: Box<[Gcra]>,
}

impl Rates {
    /// Creates a limit to a single rate.
    pub fn new(rate: Rate) -> Self {
        Self { first: Gcra::new(rate), more: Box::default() }
    }

    /// Creates a limit to these laws. Without a law, everything passes.
    pub(super) fn of(laws: impl IntoIterator<Item = Gcra>) -> Self {
        let mut laws = laws.into_iter();
        let unlimited = || Gcra::new(Rate::new(1, Duration::ZERO));
        Self { first: laws.next().unwrap_or_else(unlimited), more: laws.collect() }
    }

    /// Adds a rate. Two equal rates count as one, with twice the work.
    pub fn and(mut self, rate: Rate) -> Self {
        let mut more = self.more.into_vec();
        more.push(Gcra::new(rate));
        self.more = more.into_boxed_slice();
        self
    }

    /// Returns a new limit to the present rates, with their whole bursts available.
    pub fn fresh(&self) -> Self {
        let more = self.more.iter().map(|law| Gcra::new(law.rate())).collect();
        Self { first: Gcra::new(self.first.rate()), more }
    }

    /// Returns the single limits, in the order in which they were added.
    ///
    /// Taking from a single limit does not take from the others.
    pub fn laws(&self) -> impl Iterator<Item = &Gcra> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// Sets the rate at this index, from 0, as [`Gcra::set_rate`] does. An index out of range
    /// changes nothing.
    pub fn set_rate(&self, now: Nanos, index: usize, rate: Rate) {
        if let Some(law) = self.laws().nth(index) {
            law.set_rate(now, rate);
        }
    }

    /// Takes this many cells of each rate now if all of them are there. Otherwise takes none.
    ///
    /// A denial carries the longest wait.
    #[inline]
    pub fn take(&self, now: Nanos, cells: u32) -> Result<(), Denied> {
        if self.more.is_empty() || cells == 0 {
            return self.first.take(now, cells);
        }
        self.hold(now, cells, Duration::ZERO, &mut |_| {}).map(drop)
    }

    /// Reserves this many cells of each rate for the time when all of them are there.
    ///
    /// If that time is more than `patience` from now, the reservation is denied and no cells are
    /// taken.
    pub fn reserve(
        &self,
        now: Nanos,
        cells: u32,
        patience: Duration,
    ) -> Result<Reservation, Denied> {
        if self.more.is_empty() || cells == 0 {
            return self.first.reserve(now, cells, patience);
        }
        let mut more = Vec::with_capacity(self.more.len());
        let (at, first) = self.hold(now, cells, patience, &mut |reserved| more.push(reserved))?;
        Ok(Reservation::new(at, first, more.into_boxed_slice()))
    }

    /// Gives back a reservation whose caller will not act, under the conditions of
    /// [`Gcra::cancel`].
    ///
    /// With several rates, each rate gives back the reservation if it was the rate's last, at any
    /// time. Otherwise the rate gives back nothing.
    pub fn cancel(&self, now: Nanos, reservation: &Reservation) {
        if self.more.is_empty() {
            self.first.cancel(now, reservation);
        } else {
            // In the order in which `hold` kept the cells: the last rate first.
            let further = self.more.iter().rev().zip(&reservation.more);
            further.for_each(|(law, reserved)| law.release(reserved));
            self.first.release(&reservation.first);
        }
    }

    /// Returns the number of cells that can be taken now: the fewest of all rates.
    pub fn tokens(&self, now: Nanos) -> u32 {
        self.more.iter().map(|law| law.tokens(now)).fold(self.first.tokens(now), u32::min)
    }

    /// Returns the time until this many cells are there for a caller behind others that take
    /// `ahead` cells first, as [`Gcra::wait_behind`] does. The slowest rate decides. Takes nothing.
    pub fn wait_behind(&self, now: Nanos, ahead: u64, cells: u32) -> Result<Duration, Denied> {
        let longest =
            |longest: Duration, law: &Gcra| Ok(law.wait_behind(now, ahead, cells)?.max(longest));
        self.laws().try_fold(Duration::ZERO, longest)
    }

    /// Returns whether this many cells of each rate can be there at once, now or later, as
    /// [`Gcra::fits`] does.
    pub fn fits(&self, cells: u32) -> bool {
        self.laws().all(|law| law.fits(cells))
    }

    /// Returns the time until all bursts are there again.
    pub fn full_in(&self, now: Nanos) -> Duration {
        self.more.iter().map(|law| law.full_in(now)).fold(self.first.full_in(now), Duration::max)
    }

    /// Returns whether all bursts are there, so that [`Rates::fresh`] would behave the same.
    #[inline]
    pub fn is_fresh(&self, now: Nanos) -> bool {
        self.first.is_fresh(now) && self.more.iter().all(|law| law.is_fresh(now))
    }

    /// Takes from all limits at the time when all have the cells. Passes the reserved cells of the
    /// further limits to `keep`, the last first.
    fn hold(
        &self,
        now: Nanos,
        cells: u32,
        patience: Duration,
        keep: &mut impl FnMut(ReservedCells),
    ) -> Result<(Nanos, ReservedCells), Denied> {
        // Each further round means that another call, or a change of a rate, came between
        // `wait_behind` and `hold_all`.
        loop {
            let wait = self.wait_behind(now, 0, cells)?;
            if wait > patience {
                return Err(Denied::After(wait));
            }
            let at = Nanos::new(now.get().saturating_add(Nanos::from(wait).get()));
            if let Some(first) = hold_all(&self.first, &self.more, at, cells, keep)? {
                return Ok((at, first));
            }
        }
    }
}

/// Takes from this limit and the next ones, or from none if another call was faster at one of them.
fn hold_all(
    law: &Gcra,
    next: &[Gcra],
    at: Nanos,
    cells: u32,
    keep: &mut impl FnMut(ReservedCells),
) -> Result<Option<ReservedCells>, Denied> {
    let reserved = match law.hold(at, cells) {
        Ok(reserved) => reserved,
        // The cells were there in `wait_behind`, so another call was faster, or the rate has
        // changed.
        Err(Denied::After(_)) => return Ok(None),
        Err(Denied::Never) => return Err(Denied::Never),
    };
    let Some((second, rest)) = next.split_first() else {
        return Ok(Some(reserved));
    };
    match hold_all(second, rest, at, cells, keep) {
        Ok(Some(further)) => {
            keep(further);
            Ok(Some(reserved))
        }
        otherwise => {
            // Comes back only if no other call was granted on top: see `Gcra::release`.
            law.release(&reserved);
            otherwise
        }
    }
}
