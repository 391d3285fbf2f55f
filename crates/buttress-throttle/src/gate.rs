use std::{
    fmt,
    sync::Arc,
    task::{Poll, Waker},
};

use buttress_core::{Criticality, Deadline, Timers};
use tokio::time::Instant;

use crate::{
    epoch::Epoch,
    lane::{Slot, Stage},
    limit::{Admission, Ask},
    line::Line,
    permit::Permit,
    permits::Permits,
    place::{Place, Until},
    refusal::{Refusal, Why},
    regulate::Regulate,
    settings::Enforcement,
    sync::{Mutex, lock},
    woken::Woken,
};

/// A bounded number of permits, and a line of those who wait for one.
///
/// While nobody waits, taking a permit and giving it back are one atomic operation each. Whoever has
/// to wait leaves a mark in the same word, and from then on permits are handed over under the line's
/// lock, so that nobody who comes later takes one that is due to somebody else.
pub(crate) struct Gate<A> {
    permits: Permits,
    pub(crate) regulator: A,
    pub(crate) timers: Arc<Timers>,
    epoch: Epoch,
    line: Mutex<Line>,
}

impl<A: Regulate> Gate<A> {
    pub(crate) fn new(limit: u32, regulator: A) -> Self {
        Self::over(limit, regulator, Arc::default(), Line::new())
    }

    /// One with the same options, out of which nothing has been taken.
    pub(crate) fn fresh(&self) -> Self {
        let (limit, regulator) = self.regulator.fresh(self.limit());
        Self::over(limit, regulator, Arc::clone(&self.timers), self.options(|line| line.fresh()))
    }

    fn over(limit: u32, regulator: A, timers: Arc<Timers>, line: Line) -> Self {
        let permits = Permits::new(limit);
        Self { permits, regulator, timers, epoch: Epoch::new(), line: Mutex::new(line) }
    }

    /// Lets a call through, puts it in line, or refuses it.
    #[inline]
    pub(crate) fn admit(self: &Arc<Self>, ask: &Ask<'_>) -> Admission<Permit<A>, Place<A>> {
        match self.permits.take(0) {
            Some(in_flight) => Admission::Admitted(self.permit(in_flight, ask.criticality)),
            None => self.admit_later(ask),
        }
    }

    #[cold]
    fn admit_later(self: &Arc<Self>, ask: &Ask<'_>) -> Admission<Permit<A>, Place<A>> {
        if ask.settings.enforcement == Enforcement::Observe {
            let bound = self.options(|line| line.bound);
            return match self.permits.take(u32::try_from(bound).unwrap_or(u32::MAX)) {
                Some(in_flight) => Admission::Admitted(self.permit(in_flight, ask.criticality)),
                None => Admission::Refused(Refusal::new(full(bound))),
            };
        }
        let mut woken = Woken::default();
        let admission = match self.line_up(ask.criticality, &mut woken) {
            Ok(Entered::Admitted(in_flight)) => {
                Admission::Admitted(self.permit(in_flight, ask.criticality))
            }
            Ok(Entered::Waiting(slot, until)) => {
                Admission::Waiting(Place::new(Arc::clone(self), slot, until, ask.criticality))
            }
            Err(refusal) => Admission::Refused(refusal),
        };
        // When the place has an owner: a waker that panics leaves none behind.
        woken.wake();
        admission
    }

    /// Lines up, unless a permit has come free meanwhile.
    fn line_up(&self, criticality: Criticality, woken: &mut Woken) -> Result<Entered, Refusal> {
        let mut line = lock(&self.line);
        if line.bound == 0 && line.is_empty() {
            // Nobody has to leave a mark, so a permit may be taken now or not at all.
            return self.permits.take(0).map(Entered::Admitted).ok_or(Refusal::new(Why::Full));
        }
        if line.is_empty()
            && let Some(in_flight) = self.permits.take_or_mark()
        {
            return Ok(Entered::Admitted(in_flight));
        }
        let now = Instant::now();
        let until = Until::earliest(now, line.max_wait, Deadline::current());
        let at = self.epoch.at(now);
        let entered = match (&until, line.expected_wait(at, criticality)) {
            (Some(until), _) if until.has_passed(now) => Err(until.refusal()),
            (Some(until), Some(wait)) if until.is_before(now, wait) => {
                Err(Refusal::new(Why::ExpectedWait))
            }
            _ => match line.push(at, criticality, woken) {
                Ok(slot) => Ok(Entered::Waiting(slot, until)),
                Err(why) => Err(Refusal::new(why)),
            },
        };
        self.unmark_if_empty(&mut line);
        entered
    }

    /// Gives a permit back.
    #[inline]
    pub(crate) fn release(&self) {
        if self.permits.give_back() {
            self.hand_over();
        }
    }

    /// Gives what permits there are to those who wait.
    #[cold]
    pub(crate) fn hand_over(&self) {
        let now = self.epoch.now();
        let mut woken = Woken::default();
        let mut line = lock(&self.line);
        while !line.is_empty() && self.permits.take_for_line() {
            line.grant(now, &mut woken);
        }
        self.unmark_if_empty(&mut line);
        drop(line);
        woken.wake();
    }

    /// What became of a place, or that `waker` is the one to be woken for it.
    pub(crate) fn poll(&self, slot: Slot, waker: &Waker) -> Poll<Result<(), Why>> {
        if let Some(seen) = lock(&self.line).look(slot, waker) {
            return seen;
        }
        let waker = waker.clone();
        let mut line = lock(&self.line);
        let former = line.watch(slot, waker);
        let seen = line.verdict(slot).map_or(Poll::Pending, Poll::Ready);
        drop(line);
        // After the lock. If the wait is over meanwhile, this is the new one.
        drop(former);
        seen
    }

    /// Gives a place up, and says what had become of it.
    pub(crate) fn leave(&self, slot: Slot) -> Option<Stage> {
        let mut line = lock(&self.line);
        let stage = line.remove(slot);
        self.unmark_if_empty(&mut line);
        stage
    }

    /// The permit of a call that was let through as the `in_flight`th.
    #[inline]
    pub(crate) fn permit(self: &Arc<Self>, in_flight: u32, criticality: Criticality) -> Permit<A> {
        self.permits.admit(criticality);
        Permit::new(Arc::clone(self), self.regulator.begin(in_flight, self.limit()))
    }

    /// Lets permits be taken without the lock again, once nobody waits.
    fn unmark_if_empty(&self, line: &mut Line) {
        if line.is_empty() && self.permits.unmark() {
            line.forget(self.epoch.now());
        }
    }

    /// Sets how many permits there may be. What is out above that stays out until it is given back.
    pub(crate) fn set_limit(&self, limit: u32) {
        if self.store_limit(limit) {
            self.hand_over();
        }
    }

    /// The same, but says whether the limit was raised: then [`hand_over`](Self::hand_over) is due,
    /// for somebody may just be lining up under the line's lock, going by the former limit.
    pub(crate) fn store_limit(&self, limit: u32) -> bool {
        self.permits.set_limit(limit)
    }

    pub(crate) fn limit(&self) -> u32 {
        self.permits.limit()
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.permits.out()
    }

    pub(crate) fn admitted(&self) -> [u64; 4] {
        self.permits.admitted()
    }

    /// Reads or changes the line's options.
    pub(crate) fn options<R>(&self, f: impl FnOnce(&mut Line) -> R) -> R {
        f(&mut lock(&self.line))
    }
}

impl<A> fmt::Debug for Gate<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("permits", &self.permits).finish_non_exhaustive()
    }
}

enum Entered {
    Admitted(u32),
    Waiting(Slot, Option<Until>),
}

const fn full(bound: usize) -> Why {
    if bound == 0 { Why::Full } else { Why::QueueFull }
}
