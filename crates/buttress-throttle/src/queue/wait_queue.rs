use std::{
    cmp::Ordering,
    mem,
    task::{Poll, Waker},
    time::Duration,
};

use buttress_control::Nanos;
use buttress_core::Criticality;
use slab::Slab;

use super::{
    alarms::Alarms,
    priority_list::{PriorityList, WaitState, Waiter, WaiterEntry, WaiterId},
    wait_estimate::WaitEstimate,
    wake_list::WakeList,
};
use crate::limit::{Queue, QueueOrder, RefusalReason};

/// The calls that wait for a permit or for cells, in a list per criticality.
#[derive(Debug)]
pub(crate) struct WaitQueue<G> {
    /// Waiters, and calls that have not been told yet that their wait is over. The latter are in no
    /// list.
    waiters: Slab<Waiter<G>>,
    lists: [PriorityList; 4],
    /// The lengths of all lists together. Every change goes through `push` and `unlink`.
    waiting: usize,
    /// When the queue was last found empty.
    empty: Nanos,
    wait_estimate: WaitEstimate,
    pub(crate) options: Queue,
    pub(crate) alarms: Alarms,
}

impl<G> WaitQueue<G> {
    pub(crate) const fn new(options: Queue) -> Self {
        Self {
            waiters: Slab::new(),
            lists: [PriorityList::EMPTY; 4],
            waiting: 0,
            empty: Nanos::new(0),
            wait_estimate: WaitEstimate::new(),
            options,
            alarms: Alarms::new(),
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    pub(crate) const fn len(&self) -> usize {
        self.waiting
    }

    /// The cells that all waiters need together.
    pub(crate) fn cells(&self) -> u64 {
        self.lists.iter().map(|list| list.cells).sum()
    }

    /// Enqueues a call, of which `max` may wait. In a full queue, a waiter of a lower criticality loses its place.
    pub(crate) fn push(
        &mut self,
        entry: WaiterEntry,
        criticality: Criticality,
        max: usize,
        wake_list: &mut WakeList,
    ) -> Result<WaiterId, RefusalReason> {
        // Must run before a displaceable waiter leaves: a place that changes hands does not make
        // the queue empty.
        if self.is_empty() {
            self.empty = entry.since;
        }
        if self.waiting >= max {
            let displaceable =
                self.displaceable(entry.since, criticality).ok_or(RefusalReason::QueueFull)?;
            self.refuse(displaceable, RefusalReason::Displaced, wake_list);
        }
        let index = criticality.index();
        let list = self.lists.get_mut(index).ok_or(RefusalReason::QueueFull)?;
        self.waiting += 1;
        Ok(list.push(&mut self.waiters, index, entry))
    }

    /// The next waiter: of the highest criticality, the first, or the last in a standing LIFO
    /// queue.
    pub(crate) fn next(&self, now: Nanos) -> Option<(WaiterId, WaiterEntry)> {
        let list = self.lists.iter().rev().find(|list| list.len > 0)?;
        let id = if self.is_lifo(now) { list.last } else { list.first };
        self.waiters.get(id.index()).map(|waiter| (id, waiter.entry))
    }

    /// When the queue turns to its latest waiter, if that waiter needs fewer cells than `next`.
    pub(crate) fn turns(&self, now: Nanos, next: WaiterEntry) -> Option<Nanos> {
        if self.options.order == QueueOrder::Fifo || self.is_lifo(now) {
            return None;
        }
        let last = self.lists.iter().rev().find(|list| list.len > 0)?.last;
        let waiter = self.waiters.get(last.index())?;
        let turns = Nanos::new(self.empty.get().saturating_add(LIFO_AFTER));
        (waiter.entry.cells < next.cells).then_some(turns)
    }

    /// Gives `grant` to the next waiter. If that waiter has waited too long, the queue sheds it and
    /// returns the grant. The last waiter is never shed.
    pub(crate) fn grant(
        &mut self,
        (id, entry): (WaiterId, WaiterEntry),
        grant: G,
        now: Nanos,
        wake_list: &mut WakeList,
    ) -> Option<G> {
        let waited = Duration::from_nanos(now.get().saturating_sub(entry.since.get()));
        let late = self.options.codel.as_mut().is_some_and(|codel| codel.dequeue(now, waited));
        // Never shed the last waiter: then no call would use the grant (RFC 8289, section 5.6).
        if late && self.waiting > 1 {
            self.refuse(id, RefusalReason::CoDel, wake_list);
            return Some(grant);
        }
        self.wait_estimate.note(now);
        self.end(id, WaitState::Granted(grant), wake_list);
        None
    }

    /// Ends a wait without a grant.
    pub(crate) fn refuse(&mut self, id: WaiterId, why: RefusalReason, wake_list: &mut WakeList) {
        self.end(id, WaitState::Refused(why), wake_list);
    }

    /// Ends the waits of all but `max` waiters: those of the lowest criticality first, and of these
    /// the last first.
    pub(crate) fn refuse_beyond(
        &mut self,
        max: usize,
        why: RefusalReason,
        wake_list: &mut WakeList,
    ) {
        while self.waiting > max {
            let Some(list) = self.lists.iter().find(|list| list.len > 0) else { return };
            self.refuse(list.last, why, wake_list);
        }
    }

    /// Wakes all waiters, so that each is polled and leaves a new waker.
    pub(crate) fn rouse(&mut self, wake_list: &mut WakeList) {
        // Taken, and not cloned: cloning is foreign code. The waiter's poll leaves a new waker.
        for (_, waiter) in &mut self.waiters {
            if let WaitState::Waiting(waker) = &mut waiter.state {
                waker.take().into_iter().for_each(|waker| wake_list.push(waker));
            }
        }
    }

    /// Resets the estimates. An empty queue says nothing about how long a wait takes.
    pub(crate) fn forget(&mut self, now: Nanos) {
        self.wait_estimate = WaitEstimate::new();
        if let Some(codel) = &mut self.options.codel {
            codel.emptied(now);
        }
    }

    /// The cells that go to other calls before a call that comes now.
    pub(crate) fn ahead(&self, now: Nanos, criticality: Criticality) -> u64 {
        let lifo = self.is_lifo(now);
        let ahead = |(index, list): (usize, &PriorityList)| match index.cmp(&criticality.index()) {
            Ordering::Greater => list.cells,
            Ordering::Equal if !lifo => list.cells,
            _ => 0,
        };
        self.lists.iter().enumerate().map(ahead).sum()
    }

    /// The mean time between two grants, once known.
    pub(crate) fn mean(&self) -> Option<Duration> {
        self.wait_estimate.mean()
    }

    /// Ready if a wait is over, pending if it goes on with `waker`, `None` if it goes on with
    /// another waker.
    pub(crate) fn look(&self, id: WaiterId, waker: &Waker) -> Option<Poll<()>> {
        match &self.waiters.get(id.index())?.state {
            WaitState::Waiting(Some(current)) if current.will_wake(waker) => Some(Poll::Pending),
            WaitState::Waiting(_) => None,
            WaitState::Granted(_) | WaitState::Refused(_) => Some(Poll::Ready(())),
        }
    }

    pub(crate) fn is_over(&self, id: WaiterId) -> bool {
        let state = self.waiters.get(id.index()).map(|waiter| &waiter.state);
        !matches!(state, Some(WaitState::Waiting(_)))
    }

    /// Sets the waker of a waiter, and returns the waker that is no longer needed. If the wait is
    /// over, this is `waker`.
    pub(crate) fn watch(&mut self, id: WaiterId, waker: Waker) -> Option<Waker> {
        match self.waiters.get_mut(id.index()).map(|waiter| &mut waiter.state) {
            Some(WaitState::Waiting(current)) => current.replace(waker),
            _ => Some(waker),
        }
    }

    /// Removes a waiter, and returns the state of its wait.
    pub(crate) fn remove(&mut self, id: WaiterId) -> Option<WaitState<G>> {
        if !self.is_over(id) {
            self.unlink(id);
        }
        let waiter = self.waiters.try_remove(id.index())?;
        // A slab does not shrink by itself, so replace it after a large backlog.
        if self.waiters.is_empty() && self.waiters.capacity() > KEPT {
            self.waiters = Slab::new();
        }
        Some(waiter.state)
    }

    /// The waiter whose place a new call takes: the last of the lowest criticality below the call's
    /// own. In a standing LIFO queue without such a waiter, the first of the call's own
    /// criticality.
    fn displaceable(&self, now: Nanos, criticality: Criticality) -> Option<WaiterId> {
        let index = criticality.index();
        let waits = |list: &&PriorityList| list.len > 0;
        let below = self.lists.iter().take(index).find(waits).map(|list| list.last);
        let oldest = || self.lists.get(index).filter(waits).map(|list| list.first);
        below.or_else(|| if self.is_lifo(now) { oldest() } else { None })
    }

    fn is_lifo(&self, now: Nanos) -> bool {
        let standing = now.get().saturating_sub(self.empty.get());
        self.options.order == QueueOrder::AdaptiveLifo && standing >= LIFO_AFTER && !self.is_empty()
    }

    /// Ends a wait. The call is told when it is polled.
    fn end(&mut self, id: WaiterId, state: WaitState<G>, wake_list: &mut WakeList) {
        // Out of the list, so that no grant reaches this waiter twice. It stays in the slab until
        // its call collects `state` in `remove`.
        self.unlink(id);
        if let Some(waiter) = self.waiters.get_mut(id.index())
            && let WaitState::Waiting(Some(waker)) = mem::replace(&mut waiter.state, state)
        {
            wake_list.push(waker);
        }
    }

    fn unlink(&mut self, id: WaiterId) {
        let list = self.waiters.get(id.index()).map(|waiter| waiter.list);
        if let Some(list) = list.and_then(|list| self.lists.get_mut(list)) {
            list.unlink(&mut self.waiters, id);
            self.waiting -= 1;
        }
    }
}

/// A queue stands when it has not been empty for this long, in nanoseconds: 100 ms, as in "Fail at
/// Scale" (ACM Queue, 2015).
const LIFO_AFTER: u64 = 100_000_000;

/// The slab keeps room for this many waiters when all have left.
const KEPT: usize = 1024;
