use std::{sync::Arc, time::Duration};

use buttress_core::{Attempt, Enforcement, ThreadCopy};
use buttress_state::sync::is_only;

use self::{
    permit::ConcurrencyPermit,
    semaphore::Semaphore,
    shared_permits::{HeldPermits, PermitQueue, SharedPermits, ThreadPermits},
};
use crate::{
    limit::{
        Admission, CallInfo, ConcurrencyBased, CountsByCriticality, KeyLimit, Limit, LimitTemplate,
        LocalLimit, Queue, Queued, Refusal, RefusalReason, Seeded, sealed,
    },
    queue::{CallQueue, HeldQueue, QueuedCall},
};

mod adaptive;
mod permit;
mod regulate;
mod semaphore;
mod shared_permits;
mod word;

pub use self::{
    adaptive::Adaptive,
    regulate::{Fixed, Regulate},
};

/// A limit on the number of calls at a time, set by the user ([`Fixed`]) or by a law
/// ([`Adaptive`]).
#[derive(Debug)]
#[doc(alias("bulkhead", "semaphore", "max in flight"))]
pub struct ConcurrencyLimit<A = Fixed> {
    permits: Arc<SharedPermits<A>>,
}

impl<A: Regulate> ConcurrencyLimit<A> {
    pub(crate) fn new(limit: u32, regulator: A) -> Self {
        Self::of(CallQueue::new(Semaphore::new(limit, regulator), &Queue::new(0)))
    }
}

impl<A> ConcurrencyLimit<A> {
    fn of(queue: PermitQueue<A>) -> Self {
        Self { permits: Arc::new(SharedPermits::new(queue)) }
    }

    pub(crate) fn queue(&self) -> &Arc<PermitQueue<A>> {
        self.permits.queue()
    }
}

impl<Req, A: Regulate> Limit<Req> for ConcurrencyLimit<A> {
    type Permit = ConcurrencyPermit<A>;
    type Wait = QueuedCall<Semaphore<A>, Arc<ThreadCopy<ThreadPermits<A>>>>;
    type KeyPermit = ConcurrencyPermit<A, Arc<KeyLimit<Self>>>;
    type KeyWait = QueuedCall<Semaphore<A>, Arc<KeyLimit<Self>>>;

    #[inline]
    fn admit(&self, _: &Req, call: &CallInfo<'_>) -> Admission<Self::Permit, Self::Wait> {
        let permits = self.permits.of_thread();
        match permits.queue().supply.take(0) {
            Some(in_flight) => {
                let permits = Arc::clone(permits);
                Admission::Admitted(ConcurrencyPermit::new(permits, in_flight, call.criticality))
            }
            None => admit_later(permits, call),
        }
    }

    #[inline]
    fn admit_key(
        limit: Arc<KeyLimit<Self>>,
        _: &Req,
        call: &CallInfo<'_>,
    ) -> Admission<Self::KeyPermit, Self::KeyWait> {
        match limit.queue().supply.take(0) {
            Some(in_flight) => {
                Admission::Admitted(ConcurrencyPermit::new(limit, in_flight, call.criticality))
            }
            None => admit_later(&limit, call),
        }
    }
}

type Waiting<A, H> = Admission<ConcurrencyPermit<A, H>, QueuedCall<Semaphore<A>, H>>;

#[cold]
fn admit_later<A: Regulate, H: HeldPermits<A>>(held: &H, call: &CallInfo<'_>) -> Waiting<A, H> {
    let queue = held.queue();
    // Read here and not in `admit`, which costs nothing more while permits are free.
    let spare = Attempt::current().is_spare();
    let (extra, why) = if call.settings.enforcement == Enforcement::Observe {
        let max = if spare { 0 } else { queue.max() };
        let why = if max == 0 { RefusalReason::Full } else { RefusalReason::QueueFull };
        (u32::try_from(max).unwrap_or(u32::MAX), why)
    } else if spare || queue.is_off() {
        // The call may not wait, so a permit may be taken now or not at all.
        (0, RefusalReason::Full)
    } else {
        return QueuedCall::enter(held, 1, call);
    };
    match queue.supply.take(extra) {
        Some(in_flight) => {
            Admission::Admitted(ConcurrencyPermit::new(held.clone(), in_flight, call.criticality))
        }
        None => Admission::Refused(Refusal::new(why)),
    }
}

impl<A: Regulate> HeldQueue<Semaphore<A>> for Arc<KeyLimit<ConcurrencyLimit<A>>> {
    #[inline]
    fn queue(&self) -> &Arc<PermitQueue<A>> {
        self.0.permits.queue()
    }
}

impl<A: Regulate> HeldPermits<A> for Arc<KeyLimit<ConcurrencyLimit<A>>> {
    #[inline]
    fn admitted(&self) -> &CountsByCriticality {
        &self.0.permits.admitted
    }
}

impl<A> sealed::Sealed for ConcurrencyLimit<A> {}

impl<A: Regulate> LocalLimit for ConcurrencyLimit<A> {}

impl<A: Regulate> LimitTemplate for ConcurrencyLimit<A> {
    type View = Self;

    fn view(&self) -> Self {
        self.clone()
    }

    fn fresh(&self) -> Self {
        let queue = self.queue();
        Self::of(queue.fresh(queue.supply.fresh()))
    }

    fn is_idle(&self) -> bool {
        // Handles hold an `Arc` of the permits. A running or waiting call of a key holds the `Arc` of
        // its table.
        is_only(&self.permits) && self.queue().supply.regulator.is_idle()
    }

    fn admitted(&self) -> [u64; 4] {
        self.permits.admitted()
    }

    fn queued(&self) -> usize {
        self.queue().len()
    }

    fn in_flight(&self) -> Option<u32> {
        Some(self.queue().supply.in_flight())
    }

    fn limit(&self) -> Option<u32> {
        Some(self.queue().supply.limit())
    }
}

impl<A: Regulate> Queued for ConcurrencyLimit<A> {
    fn with_queue(&self, queue: Queue) -> Self {
        let former = self.queue();
        Self::of(former.with_options(former.supply.fresh(), &queue))
    }

    fn max_queued(&self) -> usize {
        self.queue().max()
    }

    fn set_max_queued(&self, max: usize) {
        self.queue().set_max(max);
    }

    fn max_wait(&self) -> Option<Duration> {
        self.queue().max_wait()
    }

    fn set_max_wait(&self, max: Option<Duration>) {
        self.queue().set_max_wait(max);
    }
}

impl<A: Regulate> ConcurrencyBased for ConcurrencyLimit<A> {}

impl<A: Regulate> Seeded for ConcurrencyLimit<A> {
    // The layer's settings hold the random numbers: see `retry_after`.
    fn with_seed(&self, _: u64) -> Self {
        self.fresh()
    }
}

impl<A> Clone for ConcurrencyLimit<A> {
    fn clone(&self) -> Self {
        Self { permits: Arc::clone(&self.permits) }
    }
}
