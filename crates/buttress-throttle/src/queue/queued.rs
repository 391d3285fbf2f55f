use std::{
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::{Criticality, Deadline, Timer};
use tokio::time::Instant;

use super::{
    CallQueue,
    priority_list::{WaitState, WaiterId},
    supply::Supply,
};
use crate::{
    limit::{Refusal, RefusalReason, Wait},
    settings::Settings,
};

/// A place in line, given up when dropped.
#[derive(Debug)]
pub struct QueuedCall<S: Supply> {
    queue: Arc<CallQueue<S, S::Grant>>,
    /// `None` once the wait is over.
    id: Option<WaiterId>,
    wait_limit: Option<WaitLimit>,
    timer: Timer,
    criticality: Criticality,
    cells: u32,
}

impl<S: Supply> QueuedCall<S> {
    pub(crate) const fn new(
        queue: Arc<CallQueue<S, S::Grant>>,
        id: WaiterId,
        wait_limit: Option<WaitLimit>,
        criticality: Criticality,
        cells: u32,
    ) -> Self {
        Self { queue, id: Some(id), wait_limit, timer: Timer::new(), criticality, cells }
    }

    /// Why the call gets nothing: `why`, or because its time is up.
    fn refusal(&self, why: Option<RefusalReason>, settings: &Settings) -> Refusal {
        let now = self.queue.now();
        let ahead = self.queue.ahead(now, self.criticality);
        let refusal = match (why, &self.wait_limit) {
            (None, Some(wait_limit)) => self.queue.refusal_at(wait_limit, now, ahead, self.cells),
            (why, _) => {
                let why = why.unwrap_or(RefusalReason::MaxWait);
                self.queue.supply.refusal(now, why, ahead, self.cells)
            }
        };
        Refusal { quotas: self.queue.supply.quotas(settings, now), ..refusal }
    }
}

impl<S: Supply> Wait<S::Permit> for QueuedCall<S> {
    fn poll_admit(
        &mut self,
        cx: &mut Context<'_>,
        settings: &Settings,
    ) -> Poll<Result<S::Permit, Refusal>> {
        let Some(id) = self.id else { unreachable!("polled after the wait was over") };
        if self.queue.poll(id, cx.waker()).is_pending() {
            let Some(wait_limit) = &self.wait_limit else { return Poll::Pending };
            ready!(self.timer.poll(cx, wait_limit.deadline, self.queue.waits()));
        }
        self.id = None;
        Poll::Ready(match self.queue.leave(id) {
            // Also one that came at the last moment.
            Some(WaitState::Granted(grant)) => {
                Ok(S::permit(&self.queue, grant, self.criticality, settings))
            }
            Some(WaitState::Refused(why)) => Err(self.refusal(Some(why), settings)),
            Some(WaitState::Waiting(_)) | None => Err(self.refusal(None, settings)),
        })
    }
}

impl<S: Supply> Drop for QueuedCall<S> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take()
            && let Some(WaitState::Granted(grant)) = self.queue.leave(id)
        {
            self.queue.take_back(grant);
        }
    }
}

/// When a call stops waiting, and why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitLimit {
    pub(crate) deadline: Deadline,
    pub(crate) why: RefusalReason,
}

impl WaitLimit {
    /// The earlier of the call's deadline and the longest wait that the layer allows.
    pub(crate) fn earliest(
        now: Instant,
        max_wait: Option<Duration>,
        deadline: Option<Deadline>,
    ) -> Option<Self> {
        let own = max_wait.map(|max| Self {
            deadline: Deadline::from_start(now, max),
            why: RefusalReason::MaxWait,
        });
        let callers = deadline.map(|deadline| Self { deadline, why: RefusalReason::Deadline });
        [callers, own].into_iter().flatten().min_by_key(|wait_limit| wait_limit.deadline)
    }

    pub(crate) fn has_passed(&self, now: Instant) -> bool {
        self.deadline.instant() <= now
    }

    /// Whether it comes before `wait` has passed.
    pub(crate) fn is_before(&self, now: Instant, wait: Duration) -> bool {
        self.deadline.instant().saturating_duration_since(now) < wait
    }
}
