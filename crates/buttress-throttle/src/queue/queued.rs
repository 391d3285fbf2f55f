use std::{
    marker::PhantomData,
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
pub struct QueuedCall<S: Supply, H: HeldQueue<S> = Arc<CallQueue<S, <S as Supply>::Grant>>> {
    held: H,
    /// `None` once the wait is over.
    id: Option<WaiterId>,
    wait_limit: Option<WaitLimit>,
    timer: Timer,
    criticality: Criticality,
    cells: u32,
    supply: PhantomData<fn(S)>,
}

/// The value that a running call holds, made of a grant of the queue.
pub trait FromGrant<S: Supply, H = Arc<CallQueue<S, <S as Supply>::Grant>>>: Sized {
    /// Counts the call as admitted. Runs without the queue's lock.
    fn from_grant(held: H, grant: S::Grant, criticality: Criticality, settings: &Settings) -> Self;
}

/// A reference by which a call keeps its queue.
pub trait HeldQueue<S: Supply>: Clone + Unpin {
    fn queue(&self) -> &Arc<CallQueue<S, S::Grant>>;
}

impl<S: Supply> HeldQueue<S> for Arc<CallQueue<S, S::Grant>> {
    #[inline]
    fn queue(&self) -> &Self {
        self
    }
}

impl<S: Supply, H: HeldQueue<S>> QueuedCall<S, H> {
    /// Admits a call that found nothing to take at first, enqueues it, or refuses it.
    #[cold]
    pub(crate) fn enter<P: FromGrant<S, H>>(
        held: &H,
        cells: u32,
        call: &CallInfo<'_>,
    ) -> Admission<P, Self> {
        let criticality = call.criticality;
        // `enqueue` fills this list under the lock. Its calls are woken below, after the lock.
        let mut wake_list = WakeList::default();
        let admission = match held.queue().enqueue(cells, criticality, &mut wake_list) {
            Ok(Enqueued::Admitted(grant)) => {
                Admission::Admitted(P::from_grant(held.clone(), grant, criticality, call.settings))
            }
            Ok(Enqueued::Waiting(id, wait_limit)) => {
                let (held, timer, id) = (held.clone(), Timer::new(), Some(id));
                let supply = PhantomData;
                Admission::Waiting(Self { held, id, wait_limit, timer, criticality, cells, supply })
            }
            Err(refusal) => Admission::Refused(refusal),
        };
        // Must run after the `QueuedCall` exists. If a waker panics, the unwinding drops the call,
        // and the waiter leaves the queue.
        drop(wake_list);
        if matches!(admission, Admission::Waiting(_)) {
            S::restock(held.queue());
        }
        admission
    }

    /// Why the call gets nothing: `why`, or because its time is up.
    fn refusal(&self, why: Option<RefusalReason>, settings: &Settings) -> Refusal {
        let queue = self.held.queue();
        let now = queue.now();
        let ahead = queue.ahead(now, self.criticality);
        let refusal = match (why, &self.wait_limit) {
            (None, Some(wait_limit)) => queue.refusal_at(wait_limit, now, ahead, self.cells),
            (why, _) => {
                let why = why.unwrap_or(RefusalReason::MaxWait);
                queue.supply.refusal(now, why, ahead, self.cells)
            }
        };
        Refusal { quotas: queue.supply.quotas(settings, now), ..refusal }
    }
}

impl<S: Supply, H: HeldQueue<S>, P: FromGrant<S, H>> Wait<P> for QueuedCall<S, H> {
    fn poll_admit(
        &mut self,
        cx: &mut Context<'_>,
        settings: &Settings,
    ) -> Poll<Result<P, Refusal>> {
        let Some(id) = self.id else { unreachable!("polled after the wait was over") };
        let queue = self.held.queue();
        if queue.poll(id, cx.waker()).is_pending() {
            let Some(wait_limit) = &self.wait_limit else { return Poll::Pending };
            ready!(self.timer.poll(cx, wait_limit.deadline, queue.waits()));
        }
        // Must run before `leave`, which may panic in the waker of another call: the drop of this
        // value must not leave again then.
        self.id = None;
        Poll::Ready(match queue.leave(id) {
            // A grant counts even if it came after the timer had fired: `leave` looks under the
            // lock.
            Some(WaitState::Granted(grant)) => {
                Ok(P::from_grant(self.held.clone(), grant, self.criticality, settings))
            }
            Some(WaitState::Refused(why)) => Err(self.refusal(Some(why), settings)),
            Some(WaitState::Waiting(_)) | None => Err(self.refusal(None, settings)),
        })
    }
}

impl<S: Supply, H: HeldQueue<S>> Drop for QueuedCall<S, H> {
    fn drop(&mut self) {
        // A grant that the call has not heard of goes back, and from there to the next waiter.
        if let Some(id) = self.id.take()
            && let Some(WaitState::Granted(grant)) = self.held.queue().leave(id)
        {
            self.held.queue().take_back(grant);
        }
    }
}
