use std::task::Waker;

use buttress_control::Nanos;
use slab::Slab;

use crate::limit::Why;

/// Waiters of one criticality, in the order they came: a linked list in a slab that all lanes share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane {
    pub(crate) first: Slot,
    pub(crate) last: Slot,
    pub(crate) len: usize,
    /// What its waiters wait for, all together.
    pub(crate) cells: u64,
}

/// A call that waits, or has not yet heard that the wait is over.
#[derive(Debug)]
pub(crate) struct Waiter<G> {
    pub(crate) stage: Stage<G>,
    pub(crate) entry: Entry,
    pub(crate) lane: usize,
    before: Slot,
    after: Slot,
}

/// What a waiter waits for.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// When it lined up.
    pub(crate) since: Nanos,
    /// Cells of a rate, or one permit.
    pub(crate) cells: u32,
}

/// A waiter's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(usize);

/// What became of a waiter.
#[derive(Debug)]
pub(crate) enum Stage<G> {
    /// Nothing yet. The waker is that of its last poll.
    Waiting(Option<Waker>),
    /// It has what it waited for.
    Granted(G),
    /// It gets nothing.
    Refused(Why),
}

impl Slot {
    pub(crate) const fn index(self) -> usize {
        self.0
    }
}

impl Lane {
    pub(crate) const EMPTY: Self = Self { first: NOWHERE, last: NOWHERE, len: 0, cells: 0 };

    /// Lines a waiter up behind all others.
    pub(crate) fn push<G>(
        &mut self,
        waiters: &mut Slab<Waiter<G>>,
        lane: usize,
        entry: Entry,
    ) -> Slot {
        let waiter =
            Waiter { stage: Stage::Waiting(None), entry, lane, before: self.last, after: NOWHERE };
        let slot = Slot(waiters.insert(waiter));
        match waiters.get_mut(self.last.0) {
            Some(last) => last.after = slot,
            None => self.first = slot,
        }
        self.last = slot;
        self.len += 1;
        self.cells += u64::from(entry.cells);
        slot
    }

    /// Takes a waiter out of the list, and leaves it in the slab.
    pub(crate) fn unlink<G>(&mut self, waiters: &mut Slab<Waiter<G>>, slot: Slot) {
        let Some(&Waiter { before, after, entry, .. }) = waiters.get(slot.0) else { return };
        match waiters.get_mut(before.0) {
            Some(waiter) => waiter.after = after,
            None => self.first = after,
        }
        match waiters.get_mut(after.0) {
            Some(waiter) => waiter.before = before,
            None => self.last = before,
        }
        self.len -= 1;
        self.cells -= u64::from(entry.cells);
    }
}

/// No slab grows so far.
const NOWHERE: Slot = Slot(usize::MAX);
