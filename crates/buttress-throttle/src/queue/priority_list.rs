use std::task::Waker;

use buttress_control::Nanos;
use slab::Slab;

use crate::limit::RefusalReason;

/// The waiters of one criticality in the order in which they came: a linked list in a slab that all
/// lists share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PriorityList {
    pub(crate) first: WaiterId,
    pub(crate) last: WaiterId,
    pub(crate) len: usize,
    /// The cells that all its waiters need together.
    pub(crate) cells: u64,
}

/// A call that waits, or has not yet been told that its wait is over.
#[derive(Debug)]
pub(crate) struct Waiter<G> {
    pub(crate) state: WaitState<G>,
    pub(crate) entry: WaiterEntry,
    pub(crate) list: usize,
    before: WaiterId,
    after: WaiterId,
}

/// The need of a waiter.
#[derive(Clone, Copy, Debug)]
pub struct WaiterEntry {
    /// When the call enqueued.
    pub(crate) since: Nanos,
    /// Cells of a rate, or 1 for a permit.
    pub(crate) cells: u32,
}

/// The slab key of a waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaiterId(usize);

/// The state of a wait.
#[derive(Debug)]
pub(crate) enum WaitState<G> {
    /// The call waits. The waker is that of its last poll.
    Waiting(Option<Waker>),
    /// The wait ended with a grant.
    Granted(G),
    /// The wait ended without a grant.
    Refused(RefusalReason),
}

impl WaiterId {
    pub(crate) const fn index(self) -> usize {
        self.0
    }
}

impl PriorityList {
    pub(crate) const EMPTY: Self = Self { first: NOWHERE, last: NOWHERE, len: 0, cells: 0 };

    /// Appends a waiter.
    pub(crate) fn push<G>(
        &mut self,
        waiters: &mut Slab<Waiter<G>>,
        index: usize,
        entry: WaiterEntry,
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

    /// Removes a waiter from the list. The waiter stays in the slab until its call has been told.
    pub(crate) fn unlink<G>(&mut self, waiters: &mut Slab<Waiter<G>>, id: WaiterId) {
        // The links of the waiter itself stay as they are, so it must be unlinked only once.
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

/// The end of a list. No slab has this many entries.
const NOWHERE: WaiterId = WaiterId(usize::MAX);
