use std::{
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::{Criticality, Deadline, Timer};
use tokio::time::Instant;

use crate::{
    gate::Gate,
    lane::{Slot, Stage},
    limit::Wait,
    permit::Permit,
    refusal::{Refusal, Why},
    regulate::Regulate,
};

/// A place in line for a permit, given up when dropped.
#[derive(Debug)]
pub struct Place<A: Regulate> {
    gate: Arc<Gate<A>>,
    /// `None` once the wait is over.
    slot: Option<Slot>,
    until: Option<Until>,
    timer: Timer,
    criticality: Criticality,
}

impl<A: Regulate> Place<A> {
    pub(crate) const fn new(
        gate: Arc<Gate<A>>,
        slot: Slot,
        until: Option<Until>,
        criticality: Criticality,
    ) -> Self {
        Self { gate, slot: Some(slot), until, timer: Timer::new(), criticality }
    }

    /// Gives the place up. A permit that had been granted comes back.
    fn leave(&mut self) -> Option<Permit<A>> {
        let stage = self.gate.leave(self.slot.take()?);
        matches!(stage, Some(Stage::Granted)).then(|| self.permit())
    }

    fn permit(&self) -> Permit<A> {
        self.gate.permit(self.gate.in_flight(), self.criticality)
    }
}

impl<A: Regulate> Wait<Permit<A>> for Place<A> {
    fn poll_admit(&mut self, cx: &mut Context<'_>) -> Poll<Result<Permit<A>, Refusal>> {
        let Some(slot) = self.slot else { unreachable!("polled after the wait was over") };
        if let Poll::Ready(verdict) = self.gate.poll(slot, cx.waker()) {
            self.slot = None;
            drop(self.gate.leave(slot));
            return Poll::Ready(verdict.map(|()| self.permit()).map_err(Refusal::new));
        }
        let Some(until) = &self.until else { return Poll::Pending };
        ready!(self.timer.poll(cx, until.deadline, &self.gate.timers));
        let refusal = until.refusal();
        // A permit that came at the last moment is one.
        Poll::Ready(self.leave().ok_or(refusal))
    }
}

impl<A: Regulate> Drop for Place<A> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take()
            && let Some(Stage::Granted) = self.gate.leave(slot)
        {
            self.gate.release();
        }
    }
}

/// When somebody stops waiting, and why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until {
    deadline: Deadline,
    why: Why,
}

impl Until {
    /// The earlier of the call's deadline and the longest wait that the layer allows.
    pub(crate) fn earliest(
        now: Instant,
        max_wait: Option<Duration>,
        deadline: Option<Deadline>,
    ) -> Option<Self> {
        let own = max_wait
            .map(|max| Self { deadline: Deadline::from_start(now, max), why: Why::MaxWait });
        let callers = deadline.map(|deadline| Self { deadline, why: Why::Deadline });
        [callers, own].into_iter().flatten().min_by_key(|until| until.deadline)
    }

    pub(crate) fn has_passed(&self, now: Instant) -> bool {
        self.deadline.instant() <= now
    }

    /// Whether it comes before `wait` has passed.
    pub(crate) fn is_before(&self, now: Instant, wait: Duration) -> bool {
        self.deadline.instant().saturating_duration_since(now) < wait
    }

    pub(crate) fn refusal(&self) -> Refusal {
        match self.why {
            Why::Deadline => Refusal::at(self.deadline),
            why => Refusal::new(why),
        }
    }
}
