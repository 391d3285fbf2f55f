use std::task::Waker;

use buttress_control::Nanos;
use slab::Slab;

use crate::limit::RefusalReason;

/// Waiters of one criticality, in the order they came: a linked list in a slab that all lists share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PriorityList {
    pub(crate) first: WaiterId,
    pub(crate) last: WaiterId,
    pub(crate) len: usize,
    /// What its waiters wait for, all together.
    pub(crate) cells: u64,
}

/// A call that waits, or has not yet heard that the wait is over.
#[derive(Debug)]
pub(crate) struct Waiter<G> {
    pub(crate) state: WaitState<G>,
    pub(crate) entry: Entry,
    pub(crate) list: usize,
    before: WaiterId,
    after: WaiterId,
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
pub(crate) struct WaiterId(usize);

/// What became of a waiter.
#[derive(Debug)]
pub(crate) enum WaitState<G> {
    /// Nothing yet. The waker is that of its last poll.
    Waiting(Option<Waker>),
    /// It has what it waited for.
    Granted(G),
    /// It gets nothing.
    Refused(RefusalReason),
}

impl WaiterId {
    pub(crate) const fn index(self) -> usize {
        self.0
    }
}

impl PriorityList {
    pub(crate) const EMPTY: Self = Self { first: NOWHERE, last: NOWHERE, len: 0, cells: 0 };

    /// Lines a waiter up behind all others.
    pub(crate) fn push<G>(
        &mut self,
        waiters: &mut Slab<Waiter<G>>,
        index: usize,
        entry: Entry,
    ) -> WaiterId {
        let waiter = Waiter {
            state: WaitState::Waiting(None),
            entry,
            list: index,
            before: self.last,
            after: NOWHERE,
        };
        let id = WaiterId(waiters.insert(waiter));
        match waiters.get_mut(self.last.0) {
            Some(last) => last.after = id,
            None => self.first = id,
        }
        self.last = id;
        self.len += 1;
        self.cells += u64::from(entry.cells);
        id
    }

    /// Takes a waiter out of the list, and leaves it in the slab.
    pub(crate) fn unlink<G>(&mut self, waiters: &mut Slab<Waiter<G>>, id: WaiterId) {
        let Some(&Waiter { before, after, entry, .. }) = waiters.get(id.0) else { return };
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
const NOWHERE: WaiterId = WaiterId(usize::MAX);
