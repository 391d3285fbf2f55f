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
    priority_list::{Entry, Lane, Slot, Stage, Waiter},
    wait_estimate::Releases,
    wake_list::Woken,
};
use crate::limit::{Options, Order, Why};

/// Calls that wait for a permit or for the cells of a rate, in a lane for each criticality.
#[derive(Debug)]
pub(crate) struct Line<G> {
    waiters: Slab<Waiter<G>>,
    lanes: [Lane; 4],
    waiting: usize,
    /// When the line was last found empty.
    empty: Nanos,
    releases: Releases,
    pub(crate) options: Options,
    pub(crate) alarms: Alarms,
}

impl<G> Line<G> {
    pub(crate) const fn new() -> Self {
        Self {
            waiters: Slab::new(),
            lanes: [Lane::EMPTY; 4],
            waiting: 0,
            empty: Nanos::new(0),
            releases: Releases::new(),
            options: Options::new(),
            alarms: Alarms::new(),
        }
    }

    /// An empty line with the same options.
    pub(crate) fn fresh(&self) -> Self {
        Self { options: self.options.fresh(), ..Self::new() }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    pub(crate) const fn len(&self) -> usize {
        self.waiting
    }

    /// Lines up. In a full line the place of a waiter that needs it less is taken.
    pub(crate) fn push(
        &mut self,
        entry: Entry,
        criticality: Criticality,
        woken: &mut Woken,
    ) -> Result<Slot, Why> {
        // Before a victim leaves: a place that changes hands does not make the line empty.
        if self.is_empty() {
            self.empty = entry.since;
        }
        if self.waiting >= self.options.bound {
            let victim = self.victim(entry.since, criticality).ok_or(Why::QueueFull)?;
            self.refuse(victim, Why::Displaced, woken);
        }
        let index = criticality.index();
        let lane = self.lanes.get_mut(index).ok_or(Why::QueueFull)?;
        self.waiting += 1;
        Ok(lane.push(&mut self.waiters, index, entry))
    }

    /// The waiter that is next: of the highest criticality, the first, or the last in a standing line.
    pub(crate) fn next(&self, now: Nanos) -> Option<(Slot, Entry)> {
        let lane = self.lanes.iter().rev().find(|lane| lane.len > 0)?;
        let slot = if self.is_lifo(now) { lane.last } else { lane.first };
        self.waiters.get(slot.index()).map(|waiter| (slot, waiter.entry))
    }

    /// When the line turns to its latest waiter, if that one needs less than `next`.
    pub(crate) fn turns(&self, now: Nanos, next: Entry) -> Option<Nanos> {
        if self.options.order == Order::Fifo || self.is_lifo(now) {
            return None;
        }
        let last = self.lanes.iter().rev().find(|lane| lane.len > 0)?.last;
        let waiter = self.waiters.get(last.index())?;
        let turns = Nanos::new(self.empty.get().saturating_add(STANDING));
        (waiter.entry.cells < next.cells).then_some(turns)
    }

    /// Gives `grant` to the waiter that is next, or sheds that one because it has waited for too long,
    /// and returns the grant. The last waiter is never shed.
    pub(crate) fn grant(
        &mut self,
        (slot, entry): (Slot, Entry),
        grant: G,
        now: Nanos,
        woken: &mut Woken,
    ) -> Option<G> {
        let waited = Duration::from_nanos(now.get().saturating_sub(entry.since.get()));
        let late = self.options.codel.as_mut().is_some_and(|codel| codel.dequeue(now, waited));
        // A grant that no waiter takes helps none (RFC 8289, section 5.6).
        if late && self.waiting > 1 {
            self.refuse(slot, Why::CoDel, woken);
            return Some(grant);
        }
        self.releases.note(now);
        self.end(slot, Stage::Granted(grant), woken);
        None
    }

    /// Ends a wait with nothing.
    pub(crate) fn refuse(&mut self, slot: Slot, why: Why, woken: &mut Woken) {
        self.end(slot, Stage::Refused(why), woken);
    }

    /// Makes all waiters look again, who then leave new wakers.
    pub(crate) fn rouse(&mut self, woken: &mut Woken) {
        for (_, waiter) in &mut self.waiters {
            if let Stage::Waiting(waker) = &mut waiter.stage {
                waker.take().into_iter().for_each(|waker| woken.push(waker));
            }
        }
    }

    /// An empty line says nothing of how long a wait takes.
    pub(crate) fn forget(&mut self, now: Nanos) {
        self.releases = Releases::new();
        if let Some(codel) = &mut self.options.codel {
            codel.emptied(now);
        }
    }

    /// How many cells go to others before a call that comes now.
    pub(crate) fn ahead(&self, now: Nanos, criticality: Criticality) -> u64 {
        let lifo = self.is_lifo(now);
        let ahead = |(index, lane): (usize, &Lane)| match index.cmp(&criticality.index()) {
            Ordering::Greater => lane.cells,
            Ordering::Equal if !lifo => lane.cells,
            _ => 0,
        };
        self.lanes.iter().enumerate().map(ahead).sum()
    }

    /// The mean time between two grants, once it is known.
    pub(crate) fn mean(&self) -> Option<Duration> {
        self.releases.mean()
    }

    /// Whether a wait is over, or that it goes on with `waker`. `None` if it goes on with another one.
    pub(crate) fn look(&self, slot: Slot, waker: &Waker) -> Option<Poll<()>> {
        match &self.waiters.get(slot.index())?.stage {
            Stage::Waiting(Some(current)) if current.will_wake(waker) => Some(Poll::Pending),
            Stage::Waiting(_) => None,
            Stage::Granted(_) | Stage::Refused(_) => Some(Poll::Ready(())),
        }
    }

    pub(crate) fn is_over(&self, slot: Slot) -> bool {
        let stage = self.waiters.get(slot.index()).map(|waiter| &waiter.stage);
        !matches!(stage, Some(Stage::Waiting(_)))
    }

    /// Makes `waker` the one to be woken, and returns the one that is not needed any more. It is
    /// `waker` itself if the wait is over.
    pub(crate) fn watch(&mut self, slot: Slot, waker: Waker) -> Option<Waker> {
        match self.waiters.get_mut(slot.index()).map(|waiter| &mut waiter.stage) {
            Some(Stage::Waiting(current)) => current.replace(waker),
            _ => Some(waker),
        }
    }

    /// Gives the place up, and says what had become of it.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Stage<G>> {
        if !self.is_over(slot) {
            self.unlink(slot);
        }
        let waiter = self.waiters.try_remove(slot.index())?;
        if self.waiters.is_empty() && self.waiters.capacity() > KEPT {
            self.waiters = Slab::new();
        }
        Some(waiter.stage)
    }

    /// The waiter whose place a newcomer takes: of the lowest criticality below its own, the last to
    /// come. Where the last go first, else the first of its own.
    fn victim(&self, now: Nanos, criticality: Criticality) -> Option<Slot> {
        let index = criticality.index();
        let waits = |lane: &&Lane| lane.len > 0;
        let below = self.lanes.iter().take(index).find(waits).map(|lane| lane.last);
        let oldest = || self.lanes.get(index).filter(waits).map(|lane| lane.first);
        below.or_else(|| if self.is_lifo(now) { oldest() } else { None })
    }

    fn is_lifo(&self, now: Nanos) -> bool {
        let standing = now.get().saturating_sub(self.empty.get());
        self.options.order == Order::AdaptiveLifo && standing >= STANDING && !self.is_empty()
    }

    /// Ends a wait; the waiter learns of it when it is polled.
    fn end(&mut self, slot: Slot, stage: Stage<G>, woken: &mut Woken) {
        self.unlink(slot);
        if let Some(waiter) = self.waiters.get_mut(slot.index())
            && let Stage::Waiting(Some(waker)) = mem::replace(&mut waiter.stage, stage)
        {
            woken.push(waker);
        }
    }

    fn unlink(&mut self, slot: Slot) {
        let lane = self.waiters.get(slot.index()).map(|waiter| waiter.lane);
        if let Some(lane) = lane.and_then(|lane| self.lanes.get_mut(lane)) {
            lane.unlink(&mut self.waiters, slot);
            self.waiting -= 1;
        }
    }
}

/// A line that was not empty for so long stands, in nanoseconds: 100 ms, as in "Fail at Scale" (ACM
/// Queue, 2015).
const STANDING: u64 = 100_000_000;

/// Room for so many is kept when all have left.
const KEPT: usize = 1024;
