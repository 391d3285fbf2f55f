use std::{mem, task::Waker};

use slab::Slab;
use tokio::time::Instant;

/// Deadlines in ascending order with the waker of each: a doubly linked list in a slab.
///
/// Insertion searches from the back, and removal knows the slot. Both take constant time if
/// deadlines arrive nearly in order.
#[derive(Debug)]
pub(crate) struct DeadlineList {
    nodes: Slab<Node>,
    first: TimerSlot,
    last: TimerSlot,
}

/// The slot of a deadline in a [`DeadlineList`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerSlot(usize);

#[derive(Debug)]
struct Node {
    deadline: Instant,
    before: TimerSlot,
    after: TimerSlot,
    /// `None` once the deadline has passed. The node is then no longer linked, and waits for
    /// `remove`.
    waker: Option<Waker>,
}

impl DeadlineList {
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.nodes.get(self.first.0).map(|node| node.deadline)
    }

    /// Inserts a deadline behind all that are not later. Returns the waker if more than
    /// [`MAX_SCAN`] nodes from the back are later.
    pub(crate) fn insert(&mut self, deadline: Instant, waker: Waker) -> Result<TimerSlot, Waker> {
        let mut before = self.last;
        for step in 0.. {
            match self.nodes.get(before.0) {
                Some(node) if node.deadline > deadline && step == MAX_SCAN => return Err(waker),
                Some(node) if node.deadline > deadline => before = node.before,
                _ => break,
            }
        }
        let slot = TimerSlot(self.nodes.vacant_key());
        let after = mem::replace(self.link_after(before), slot);
        *self.link_before(after) = slot;
        self.nodes.insert(Node { deadline, before, after, waker: Some(waker) });
        Ok(slot)
    }

    /// Whether the deadline in `slot` has passed.
    pub(crate) fn is_due(&self, slot: TimerSlot) -> bool {
        self.nodes.get(slot.0).is_none_or(|node| node.waker.is_none())
    }

    /// Whether `waker` is registered in `slot`. `None` if the deadline has passed.
    pub(crate) fn watch(&self, slot: TimerSlot, waker: &Waker) -> Option<bool> {
        let current = self.nodes.get(slot.0)?.waker.as_ref()?;
        Some(current.will_wake(waker))
    }

    /// Registers `waker` and returns the former waker. Returns `waker` as an error if the deadline
    /// has passed.
    pub(crate) fn rewatch(&mut self, slot: TimerSlot, waker: Waker) -> Result<Waker, Waker> {
        match self.nodes.get_mut(slot.0).and_then(|node| node.waker.as_mut()) {
            Some(current) => Ok(mem::replace(current, waker)),
            None => Err(waker),
        }
    }

    /// Frees `slot`.
    pub(crate) fn remove(&mut self, slot: TimerSlot) -> Option<Waker> {
        let node = self.nodes.try_remove(slot.0)?;
        if node.waker.is_some() {
            self.unlink(&node);
        }
        // Gives the memory of a burst back, because a slab never shrinks.
        if self.nodes.is_empty() && self.nodes.capacity() > KEEP_CAPACITY {
            self.nodes = Slab::new();
        }
        node.waker
    }

    /// Unlinks all deadlines up to `now`, and collects their wakers.
    pub(crate) fn expire(&mut self, now: Instant, due: &mut Vec<Waker>) {
        while let Some(node) = self.nodes.get_mut(self.first.0) {
            if node.deadline > now {
                return;
            }
            due.extend(node.waker.take());
            let after = node.after;
            self.first = after;
            *self.link_before(after) = NOWHERE;
        }
    }

    fn unlink(&mut self, node: &Node) {
        *self.link_after(node.before) = node.after;
        *self.link_before(node.after) = node.before;
    }

    /// The link to the node behind `slot`. For [`NOWHERE`], the front of the list, it is `first`.
    fn link_after(&mut self, slot: TimerSlot) -> &mut TimerSlot {
        self.nodes.get_mut(slot.0).map_or(&mut self.first, |node| &mut node.after)
    }

    /// The link to the node in front of `slot`. For [`NOWHERE`], the back of the list, it is
    /// `last`.
    fn link_before(&mut self, slot: TimerSlot) -> &mut TimerSlot {
        self.nodes.get_mut(slot.0).map_or(&mut self.last, |node| &mut node.before)
    }
}

impl Default for DeadlineList {
    fn default() -> Self {
        Self { nodes: Slab::new(), first: NOWHERE, last: NOWHERE }
    }
}

const NOWHERE: TimerSlot = TimerSlot(usize::MAX);
/// The number of later deadlines that an insertion skips before it gives up.
const MAX_SCAN: usize = 32;
/// An empty list keeps memory for this many deadlines.
const KEEP_CAPACITY: usize = 1024;

#[cfg(test)]
mod tests {
    use std::{task::Waker, time::Duration};

    use tokio::time::Instant;

    use super::{DeadlineList, TimerSlot};

    /// Random steps against a sorted vector.
    #[test]
    fn deadlines_expire_in_order_after_any_removals() {
        let start = Instant::now();
        let mut random = 1_u64;
        let mut draw = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut list = DeadlineList::default();
        let mut model: Vec<(u64, TimerSlot)> = Vec::new();
        let mut expired: Vec<TimerSlot> = Vec::new();
        for step in 0..20_000 {
            match draw(4) {
                0 | 1 => {
                    let at = step + draw(20);
                    let deadline = start + Duration::from_micros(at);
                    if let Ok(slot) = list.insert(deadline, Waker::noop().clone()) {
                        model.push((at, slot));
                    } else {
                        assert!(model.iter().filter(|(other, _)| *other > at).count() > 32);
                    }
                }
                2 if !model.is_empty() => {
                    let (_, slot) =
                        model.remove(usize::try_from(draw(model.len() as u64)).unwrap());
                    assert!(list.remove(slot).is_some());
                }
                _ => {
                    let now = step.saturating_sub(draw(60));
                    let mut due = Vec::new();
                    list.expire(start + Duration::from_micros(now), &mut due);
                    let (passed, left) = model.into_iter().partition(|(at, _)| *at <= now);
                    model = left;
                    let passed: Vec<(u64, TimerSlot)> = passed;
                    assert_eq!(due.len(), passed.len());
                    expired.extend(passed.iter().map(|(_, slot)| *slot));
                    for slot in expired.drain(..) {
                        assert!(list.watch(slot, Waker::noop()).is_none());
                        assert!(list.remove(slot).is_none());
                    }
                }
            }
            let earliest = model.iter().map(|(at, _)| start + Duration::from_micros(*at)).min();
            assert_eq!(list.earliest(), earliest);
            assert_eq!(list.len(), model.len());
        }
    }
}
