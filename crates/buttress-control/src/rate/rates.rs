use std::time::Duration;

use super::reservation::ReservedCells;
use crate::{Denied, Gcra, Nanos, Rate, Reservation};

/// Several rate limits at once: ten a second and a hundred a minute, say.
///
/// A call takes from all of them or from none. One rate costs what a [`Gcra`] costs.
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
/// All limits are looked at first, then taken from in turn; whoever finds that others were faster gives
/// back what it took and looks again. Meanwhile others may be refused for its sake. What somebody has
/// taken on top of it is not moved, and then a cell can be lost until it is earned again.
#[derive(Debug)]
pub struct Rates {
    first: Gcra,
    more: Box<[Gcra]>,
}

impl Rates {
    /// A limit to one rate.
    pub fn new(rate: Rate) -> Self {
        Self { first: Gcra::new(rate), more: Box::default() }
    }

    /// Limits to this rate as well. Two rates that are the same count as one, with twice the work.
    pub fn and(mut self, rate: Rate) -> Self {
        let mut more = self.more.into_vec();
        more.push(Gcra::new(rate));
        self.more = more.into_boxed_slice();
        self
    }

    /// A new limit to the rates of this one as they are now, with their whole bursts there.
    pub fn fresh(&self) -> Self {
        let more = self.more.iter().map(|law| Gcra::new(law.rate())).collect();
        Self { first: Gcra::new(self.first.rate()), more }
    }

    /// The single limits, in the order in which they were given.
    ///
    /// Taking from one of them alone is not seen by the others.
    pub fn laws(&self) -> impl Iterator<Item = &Gcra> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// Changes one rate, counted from 0, as [`Gcra::set_rate`] does. There may be none of this number.
    pub fn set_rate(&self, now: Nanos, index: usize, rate: Rate) {
        if let Some(law) = self.laws().nth(index) {
            law.set_rate(now, rate);
        }
    }

    /// Takes so many cells of each rate now if they are all there, and nothing if not.
    ///
    /// A denial tells the longest wait.
    #[inline]
    pub fn take(&self, now: Nanos, cells: u32) -> Result<(), Denied> {
        if self.more.is_empty() || cells == 0 {
            return self.first.take(now, cells);
        }
        self.hold(now, cells, Duration::ZERO, &mut |_| {}).map(drop)
    }

    /// Sets so many cells of each rate aside for the time when they are all there.
    ///
    /// Refused, with nothing taken, when that is more than `patience` from now.
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

    /// Gives back a reservation whose caller will not act, under the conditions of [`Gcra::cancel`].
    ///
    /// Of several rates, each gives back the reservation that was its last, at any time, and nothing of
    /// others.
    pub fn cancel(&self, now: Nanos, reservation: &Reservation) {
        if self.more.is_empty() {
            self.first.cancel(now, reservation);
        } else {
            let further = self.more.iter().rev().zip(&reservation.more);
            further.for_each(|(law, reserved)| law.release(reserved));
            self.first.release(&reservation.first);
        }
    }

    /// How many cells can be taken now: the fewest of all rates.
    pub fn tokens(&self, now: Nanos) -> u32 {
        self.more.iter().map(|law| law.tokens(now)).fold(self.first.tokens(now), u32::min)
    }

    /// Returns the time until so many cells are there for a caller behind others that take `ahead` cells
    /// first, as [`Gcra::wait_behind`] does: that of the slowest rate alone. Takes nothing.
    pub fn wait_behind(&self, now: Nanos, ahead: u64, cells: u32) -> Result<Duration, Denied> {
        let longest =
            |longest: Duration, law: &Gcra| Ok(law.wait_behind(now, ahead, cells)?.max(longest));
        self.laws().try_fold(Duration::ZERO, longest)
    }

    /// Whether so many cells of each rate can be there at once, now or later, as [`Gcra::fits`] says.
    pub fn fits(&self, cells: u32) -> bool {
        self.laws().all(|law| law.fits(cells))
    }

    /// How long until all bursts are there again.
    pub fn full_in(&self, now: Nanos) -> Duration {
        self.more.iter().map(|law| law.full_in(now)).fold(self.first.full_in(now), Duration::max)
    }

    /// Whether all bursts are there, so that [`Rates::fresh`] would do as well.
    #[inline]
    pub fn is_fresh(&self, now: Nanos) -> bool {
        self.first.is_fresh(now) && self.more.iter().all(|law| law.is_fresh(now))
    }

    /// Takes from all limits for the time when all have the cells, and hands the reserved cells of the
    /// further ones over, the last first.
    fn hold(
        &self,
        now: Nanos,
        cells: u32,
        patience: Duration,
        keep: &mut impl FnMut(ReservedCells),
    ) -> Result<(Nanos, ReservedCells), Denied> {
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

/// From this limit and the next ones, or from none if another caller was faster at one of them.
fn hold_all(
    law: &Gcra,
    next: &[Gcra],
    at: Nanos,
    cells: u32,
    keep: &mut impl FnMut(ReservedCells),
) -> Result<Option<ReservedCells>, Denied> {
    let reserved = match law.hold(at, cells) {
        Ok(reserved) => reserved,
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
            law.release(&reserved);
            otherwise
        }
    }
}
