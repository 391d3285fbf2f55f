use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{Criticality, Timer};

use super::{
    CallQueue, Enqueued,
    priority_list::{WaitState, WaiterId},
    supply::Supply,
    wait_limit::WaitLimit,
    wake_list::WakeList,
};
use crate::limit::{Admission, CallInfo, Refusal, RefusalReason, Settings, Wait};

/// A call that waits in a [`CallQueue`]. Dropping it leaves the queue.
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

/// The value that a running call holds, made of a grant of the queue.
pub trait FromGrant<S: Supply>: Sized {
    /// Counts the call as admitted. Runs without the queue's lock.
    fn from_grant(
        queue: &Arc<CallQueue<S, S::Grant>>,
        grant: S::Grant,
        criticality: Criticality,
        settings: &Settings,
    ) -> Self;
}

impl<S: Supply> QueuedCall<S> {
    /// Admits a call that found nothing to take at first, enqueues it, or refuses it.
    #[cold]
    pub(crate) fn enter<P: FromGrant<S>>(
        queue: &Arc<CallQueue<S, S::Grant>>,
        cells: u32,
        call: &CallInfo<'_>,
    ) -> Admission<P, Self> {
        let criticality = call.criticality;
        // `enqueue` fills this list under the lock. Its calls are woken below, after the lock.
        let mut wake_list = WakeList::default();
        let admission = match queue.enqueue(cells, criticality, &mut wake_list) {
            Ok(Enqueued::Admitted(grant)) => {
                Admission::Admitted(P::from_grant(queue, grant, criticality, call.settings))
            }
            Ok(Enqueued::Waiting(id, wait_limit)) => {
                let (queue, timer) = (Arc::clone(queue), Timer::new());
                let id = Some(id);
                Admission::Waiting(Self { queue, id, wait_limit, timer, criticality, cells })
            }
            Err(refusal) => Admission::Refused(refusal),
        };
        // Must run after the `QueuedCall` exists. If a waker panics, the unwinding drops the call,
        // and the waiter leaves the queue.
        drop(wake_list);
        admission
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

impl<S: Supply, P: FromGrant<S>> Wait<P> for QueuedCall<S> {
    fn poll_admit(
        &mut self,
        cx: &mut Context<'_>,
        settings: &Settings,
    ) -> Poll<Result<P, Refusal>> {
        let Some(id) = self.id else { unreachable!("polled after the wait was over") };
        if self.queue.poll(id, cx.waker()).is_pending() {
            let Some(wait_limit) = &self.wait_limit else { return Poll::Pending };
            ready!(self.timer.poll(cx, wait_limit.deadline, self.queue.waits()));
        }
        // Must run before `leave`, which may panic in the waker of another call: the drop of this
        // value must not leave again then.
        self.id = None;
        Poll::Ready(match self.queue.leave(id) {
            // A grant counts even if it came after the timer had fired: `leave` looks under the
            // lock.
            Some(WaitState::Granted(grant)) => {
                Ok(P::from_grant(&self.queue, grant, self.criticality, settings))
            }
            Some(WaitState::Refused(why)) => Err(self.refusal(Some(why), settings)),
            Some(WaitState::Waiting(_)) | None => Err(self.refusal(None, settings)),
        })
    }
}

impl<S: Supply> Drop for QueuedCall<S> {
    fn drop(&mut self) {
        // A grant that the call has not heard of goes back, and from there to the next waiter.
        if let Some(id) = self.id.take()
            && let Some(WaitState::Granted(grant)) = self.queue.leave(id)
        {
            self.queue.take_back(grant);
        }
    }
}
