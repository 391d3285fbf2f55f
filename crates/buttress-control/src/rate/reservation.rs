use std::time::Duration;

use crate::Nanos;

/// Cells that are reserved for a caller from a time on: see [`Gcra::reserve`] and
/// [`Rates::reserve`].
///
/// Dropping a reservation gives nothing back. Pass it to `cancel` of its law.
///
/// [`Gcra::reserve`]: crate::Gcra::reserve
/// [`Rates::reserve`]: crate::Rates::reserve
#[derive(Debug)]
pub struct Reservation {
    at: Nanos,
    pub(crate) first: ReservedCells,
    /// The cells of the further rates, the last first. Empty and without an allocation for a single
    /// rate.
    pub(crate) more: Box<[ReservedCells]>,
}

impl Reservation {
    pub(crate) fn new(at: Nanos, first: ReservedCells, more: Box<[ReservedCells]>) -> Self {
        Self { at, first, more }
    }

    /// Returns when the caller may act: at once if this is not later than the `now` of the
    /// reservation.
    pub const fn at(&self) -> Nanos {
        self.at
    }
}

/// Why cells were not granted. No cells were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denied {
    /// The cells will be there after this time, to the nanosecond, if no other call takes them.
    After(Duration),
    /// The cells will never be there: more than the burst, or any at a rate of 0.
    Never,
}

/// The cells that a single law has reserved, in its own units of time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReservedCells {
    /// The theoretical arrival time after the reservation.
    pub(crate) end: u64,
    /// The part of that time that the reservation added.
    pub(crate) cost: u64,
    pub(crate) stamp: BookingStamp,
}

/// What had been given back when the cells were reserved, to tell what was granted after them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BookingStamp {
    pub(crate) restored: u64,
    pub(crate) changes: u32,
}
