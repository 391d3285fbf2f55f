use std::time::Duration;

use crate::Nanos;

/// What a replica holds and needs of a key, when it might ask the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseDemand {
    /// The cells of all calls that wait.
    pub waiting: u64,
    /// The cells of the first call in line, or 0 without a call.
    pub first: u32,
    /// The cells that are held and live.
    pub held: u32,
}

impl LeaseDemand {
    /// Returns the demand of calls that wait for `waiting` cells, the first of them for `first`, while
    /// `held` cells are there.
    pub const fn new(waiting: u64, first: u32, held: u32) -> Self {
        Self { waiting, first, held }
    }
}

/// A request to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseRefill {
    /// The most cells to take.
    pub want: u32,
    /// The fewest cells to take.
    pub min: u32,
    /// The cells that were admitted without the store.
    pub debt: u64,
}

/// What the store granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseReply<'a> {
    /// The cells taken.
    pub granted: u32,
    /// The time until `min` more cells are there.
    pub next: Duration,
    /// For each rate, the time until its bucket is full.
    pub full_in: &'a [Duration],
    /// The cells left in the store.
    pub remaining: u64,
}

impl<'a> LeaseReply<'a> {
    /// Returns a reply of `granted` cells.
    pub const fn new(
        granted: u32,
        next: Duration,
        full_in: &'a [Duration],
        remaining: u64,
    ) -> Self {
        Self { granted, next, full_in, remaining }
    }
}

/// Cells that a replica may spend until a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeasedCells {
    /// The number of cells. 0 if the reply came too late.
    pub cells: u32,
    /// The time at which the cells end.
    pub ends: Nanos,
    /// The cells that came too late, and must not be spent.
    pub expired: u32,
    /// Whether the key had been without the store before this reply.
    pub is_regained: bool,
}
