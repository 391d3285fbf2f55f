use std::{
    cmp::Ordering,
    mem,
    task::{Poll, Waker},
    time::Duration,
};

use buttress_control::{Codel, Nanos};
use buttress_core::Criticality;
use slab::Slab;

use crate::{
    lane::{Lane, Slot, Stage, Waiter},
    refusal::Why,
    releases::Releases,
    woken::Woken,
};

/// Calls that wait for a permit, in a lane for each criticality.
#[derive(Debug)]
pub(crate) struct Line {
    waiters: Slab<Waiter>,
    lanes: [Lane; 4],
    waiting: usize,
    /// When the line was last found empty.
    empty: Nanos,
    releases: Releases,
    pub(crate) bound: usize,
    pub(crate) max_wait: Option<Duration>,
    pub(crate) order: Order,
    pub(crate) codel: Option<Codel>,
}

/// Who goes next, of one criticality.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Whoever came first.
    Fifo,
    /// Whoever came last, while the line has not been empty for [`STANDING`].
    AdaptiveLifo,
}

impl Line {
    pub(crate) const fn new() -> Self {
        Self {
            waiters: Slab::new(),
            lanes: [Lane::EMPTY; 4],
            waiting: 0,
            empty: Nanos::new(0),
            releases: Releases::new(),
            bound: 0,
            max_wait: None,
            order: Order::Fifo,
            codel: None,
        }
    }

    /// An empty line with the same options.
    pub(crate) fn fresh(&self) -> Self {
        let Self { bound, max_wait, order, .. } = *self;
        let codel = self.codel.as_ref().map(Codel::fresh);
        Self { bound, max_wait, order, codel, ..Self::new() }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    pub(crate) const fn len(&self) -> usize {
        self.waiting
    }

    /// Lines up. In a full line the place of somebody who needs it less is taken.
    pub(crate) fn push(
        &mut self,
        now: Nanos,
        criticality: Criticality,
        woken: &mut Woken,
    ) -> Result<Slot, Why> {
        // Before anybody makes room: a place that changes hands does not make the line empty.
        if self.is_empty() {
            self.empty = now;
        }
        if self.waiting >= self.bound {
            let victim = self.victim(now, criticality).ok_or(Why::QueueFull)?;
            self.end(victim, Stage::Refused(Why::Displaced), woken);
        }
        let index = criticality.index();
        let lane = self.lanes.get_mut(index).ok_or(Why::QueueFull)?;
        self.waiting += 1;
        Ok(lane.push(&mut self.waiters, index, now))
    }

    /// Gives a permit to whoever is next, and sheds those on the way who have waited too long. Somebody
    /// must be waiting, and then somebody gets it.
    pub(crate) fn grant(&mut self, now: Nanos, woken: &mut Woken) {
        self.releases.note(now);
        while let Some((slot, since)) = self.next(now) {
            let waited = Duration::from_nanos(now.get().saturating_sub(since.get()));
            let late = self.codel.as_mut().is_some_and(|codel| codel.dequeue(now, waited));
            // The last one is spared: a permit that nobody takes helps nobody (RFC 8289, section 5.6).
            if late && self.waiting > 1 {
                self.end(slot, Stage::Refused(Why::CoDel), woken);
            } else {
                self.end(slot, Stage::Granted, woken);
                return;
            }
        }
    }

    /// Whoever comes next finds the line empty: nothing is known any more of how long one waits.
    pub(crate) fn forget(&mut self, now: Nanos) {
        self.releases = Releases::new();
        if let Some(codel) = &mut self.codel {
            codel.emptied(now);
        }
    }

    /// How long somebody who comes now would wait: their position times the mean time between two
    /// releases, if that is known.
    pub(crate) fn expected_wait(&self, now: Nanos, criticality: Criticality) -> Option<Duration> {
        let lifo = self.is_lifo(now);
        let ahead = |(index, lane): (usize, &Lane)| match index.cmp(&criticality.index()) {
            Ordering::Greater => lane.len,
            Ordering::Equal if !lifo => lane.len,
            _ => 0,
        };
        let ahead: usize = self.lanes.iter().enumerate().map(ahead).sum();
        let position = u32::try_from(ahead).unwrap_or(u32::MAX).saturating_add(1);
        self.releases.mean().map(|mean| mean.saturating_mul(position))
    }

    /// What became of whoever has this place, or that they wait with `waker`. `None` if they wait
    /// with another one.
    pub(crate) fn look(&self, slot: Slot, waker: &Waker) -> Option<Poll<Result<(), Why>>> {
        match self.waiters.get(slot.index()).map(|waiter| &waiter.stage) {
            Some(Stage::Waiting(Some(current))) if current.will_wake(waker) => Some(Poll::Pending),
            _ => self.verdict(slot).map(Poll::Ready),
        }
    }

    /// How the wait ended, if it has.
    pub(crate) fn verdict(&self, slot: Slot) -> Option<Result<(), Why>> {
        match self.waiters.get(slot.index())?.stage {
            Stage::Waiting(_) => None,
            Stage::Granted => Some(Ok(())),
            Stage::Refused(why) => Some(Err(why)),
        }
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
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Stage> {
        if self.verdict(slot).is_none() {
            self.unlink(slot);
        }
        let waiter = self.waiters.try_remove(slot.index())?;
        if self.waiters.is_empty() && self.waiters.capacity() > KEPT {
            self.waiters = Slab::new();
        }
        Some(waiter.stage)
    }

    /// Of the highest criticality that waits, the first, or the last in a standing line.
    fn next(&self, now: Nanos) -> Option<(Slot, Nanos)> {
        let lane = self.lanes.iter().rev().find(|lane| lane.len > 0)?;
        let slot = if self.is_lifo(now) { lane.last } else { lane.first };
        self.waiters.get(slot.index()).map(|waiter| (slot, waiter.since))
    }

    /// Whose place a newcomer takes: of the lowest criticality below its own, the last to come. Where
    /// the last go first, else the first of its own.
    fn victim(&self, now: Nanos, criticality: Criticality) -> Option<Slot> {
        let index = criticality.index();
        let waits = |lane: &&Lane| lane.len > 0;
        let below = self.lanes.iter().take(index).find(waits).map(|lane| lane.last);
        let oldest = || self.lanes.get(index).filter(waits).map(|lane| lane.first);
        below.or_else(|| if self.is_lifo(now) { oldest() } else { None })
    }

    fn is_lifo(&self, now: Nanos) -> bool {
        let standing = now.get().saturating_sub(self.empty.get());
        self.order == Order::AdaptiveLifo && standing >= STANDING && !self.is_empty()
    }

    /// Ends a wait; the waiter learns of it when it is polled.
    fn end(&mut self, slot: Slot, stage: Stage, woken: &mut Woken) {
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
