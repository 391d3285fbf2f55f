use std::time::Duration;

use crate::Nanos;

/// Cells that are held for one caller, from a time on: see [`Gcra::reserve`] and [`Rates::reserve`].
///
/// Dropping it gives nothing back; hand it to `cancel` of the law it came from.
///
/// [`Gcra::reserve`]: crate::Gcra::reserve
/// [`Rates::reserve`]: crate::Rates::reserve
#[derive(Debug)]
pub struct Reservation {
    at: Nanos,
    pub(crate) first: ReservedCells,
    /// Of the further rates, the last first. Empty, and no allocation, where there is one.
    pub(crate) more: Box<[ReservedCells]>,
}

impl Reservation {
    pub(crate) fn new(at: Nanos, first: ReservedCells, more: Box<[ReservedCells]>) -> Self {
        Self { at, first, more }
    }

    /// When its caller may act: at once if this is not later than the `now` it was made with.
    pub const fn at(&self) -> Nanos {
        self.at
    }
}

/// Why cells were not granted. Nothing has been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denied {
    /// They will be there after this time, to the nanosecond, if nobody else takes them.
    After(Duration),
    /// They will never be there: more cells than the burst, or any at all at a rate of 0.
    Never,
}

/// What one law has set aside, in its own units of time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReservedCells {
    /// The theoretical arrival time after it.
    pub(crate) end: u64,
    /// How much of that is its own.
    pub(crate) cost: u64,
    pub(crate) stamp: BookingStamp,
}

/// What had been given back when cells were reserved, so that what came after them can be told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BookingStamp {
    pub(crate) restored: u64,
    pub(crate) changes: u32,
}
