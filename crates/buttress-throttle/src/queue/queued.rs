use std::{
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::{Criticality, Deadline, Timer};
use tokio::time::Instant;

use super::{
    Queue,
    priority_list::{Slot, Stage},
    supply::Supply,
};
use crate::{
    limit::{Refusal, Wait, Why},
    settings::Settings,
};

/// A place in line, given up when dropped.
#[derive(Debug)]
pub struct Place<S: Supply> {
    queue: Arc<Queue<S, S::Grant>>,
    /// `None` once the wait is over.
    slot: Option<Slot>,
    until: Option<Until>,
    timer: Timer,
    criticality: Criticality,
    cells: u32,
}

impl<S: Supply> Place<S> {
    pub(crate) const fn new(
        queue: Arc<Queue<S, S::Grant>>,
        slot: Slot,
        until: Option<Until>,
        criticality: Criticality,
        cells: u32,
    ) -> Self {
        Self { queue, slot: Some(slot), until, timer: Timer::new(), criticality, cells }
    }

    /// Why the call gets nothing: `why`, or because its time is up.
    fn refusal(&self, why: Option<Why>, settings: &Settings) -> Refusal {
        let now = self.queue.now();
        let ahead = self.queue.ahead(now, self.criticality);
        let refusal = match (why, &self.until) {
            (None, Some(until)) => self.queue.refusal_at(until, now, ahead, self.cells),
            (why, _) => {
                let why = why.unwrap_or(Why::MaxWait);
                self.queue.supply.refusal(now, why, ahead, self.cells)
            }
        };
        Refusal { quotas: self.queue.supply.quotas(settings, now), ..refusal }
    }
}

impl<S: Supply> Wait<S::Permit> for Place<S> {
    fn poll_admit(
        &mut self,
        cx: &mut Context<'_>,
        settings: &Settings,
    ) -> Poll<Result<S::Permit, Refusal>> {
        let Some(slot) = self.slot else { unreachable!("polled after the wait was over") };
        if self.queue.poll(slot, cx.waker()).is_pending() {
            let Some(until) = &self.until else { return Poll::Pending };
            ready!(self.timer.poll(cx, until.deadline, self.queue.waits()));
        }
        self.slot = None;
        Poll::Ready(match self.queue.leave(slot) {
            // Also one that came at the last moment.
            Some(Stage::Granted(grant)) => {
                Ok(S::permit(&self.queue, grant, self.criticality, settings))
            }
            Some(Stage::Refused(why)) => Err(self.refusal(Some(why), settings)),
            Some(Stage::Waiting(_)) | None => Err(self.refusal(None, settings)),
        })
    }
}

impl<S: Supply> Drop for Place<S> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take()
            && let Some(Stage::Granted(grant)) = self.queue.leave(slot)
        {
            self.queue.take_back(grant);
        }
    }
}

/// When a call stops waiting, and why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until {
    pub(crate) deadline: Deadline,
    pub(crate) why: Why,
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
}
