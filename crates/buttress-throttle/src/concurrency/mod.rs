use std::sync::Arc;

use buttress_core::{Attempt, Enforcement};
use buttress_state::sync::is_only;

use self::{permit::ConcurrencyPermit, semaphore::Semaphore};
use crate::{
    limit::{
        Admission, CallInfo, ConcurrencyBased, Limit, LimitTemplate, Queue, Queued, Refusal,
        RefusalReason, Seeded, sealed,
    },
    queue::{CallQueue, QueuedCall},
};

mod adaptive;
mod permit;
mod regulate;
mod semaphore;
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
    pub(crate) queue: Arc<CallQueue<Semaphore<A>, ()>>,
}

impl<A: Regulate> ConcurrencyLimit<A> {
    pub(crate) fn new(limit: u32, regulator: A) -> Self {
        Self { queue: Arc::new(CallQueue::new(Semaphore::new(limit, regulator), &Queue::new(0))) }
    }
}

impl<Req, A: Regulate> Limit<Req> for ConcurrencyLimit<A> {
    type Permit = ConcurrencyPermit<A>;
    type Wait = QueuedCall<Semaphore<A>>;

    #[inline]
    fn admit(
        &self,
        _: &Req,
        call: &CallInfo<'_>,
    ) -> Admission<ConcurrencyPermit<A>, QueuedCall<Semaphore<A>>> {
        match self.queue.supply.take(0) {
            Some(in_flight) => Admission::Admitted(self.permit(in_flight, call)),
            None => self.admit_later(call),
        }
    }
}

impl<A: Regulate> ConcurrencyLimit<A> {
    #[cold]
    fn admit_later(
        &self,
        call: &CallInfo<'_>,
    ) -> Admission<ConcurrencyPermit<A>, QueuedCall<Semaphore<A>>> {
        // Read here and not in `admit`, which costs nothing more while permits are free.
        let spare = Attempt::current().is_spare();
        let (extra, why) = if call.settings.enforcement == Enforcement::Observe {
            let max = if spare { 0 } else { self.queue.max() };
            let why = if max == 0 { RefusalReason::Full } else { RefusalReason::QueueFull };
            (u32::try_from(max).unwrap_or(u32::MAX), why)
        } else if spare || self.queue.is_off() {
            // The call may not wait, so a permit may be taken now or not at all.
            (0, RefusalReason::Full)
        } else {
            return QueuedCall::enter(&self.queue, 1, call);
        };
        match self.queue.supply.take(extra) {
            Some(in_flight) => Admission::Admitted(self.permit(in_flight, call)),
            None => Admission::Refused(Refusal::new(why)),
        }
    }

    #[inline]
    fn permit(&self, in_flight: u32, call: &CallInfo<'_>) -> ConcurrencyPermit<A> {
        ConcurrencyPermit::new(&self.queue, in_flight, call.criticality)
    }
}

impl<A> sealed::Sealed for ConcurrencyLimit<A> {}

impl<A: Regulate> LimitTemplate for ConcurrencyLimit<A> {
    type View = Self;

    fn view(&self) -> Self {
        self.clone()
    }

    fn fresh(&self) -> Self {
        Self { queue: Arc::new(self.queue.fresh(self.queue.supply.fresh())) }
    }

    fn is_idle(&self) -> bool {
        // Every permit and every waiting call holds an `Arc` of the queue.
        is_only(&self.queue) && self.queue.supply.regulator.is_idle()
    }

    fn admitted(&self) -> [u64; 4] {
        self.queue.supply.admitted()
    }

    fn queued(&self) -> usize {
        self.queue.len()
    }

    fn in_flight(&self) -> Option<u32> {
        Some(self.queue.supply.in_flight())
    }

    fn limit(&self) -> Option<u32> {
        Some(self.queue.supply.limit())
    }
}

impl<A: Regulate> Queued for ConcurrencyLimit<A> {
    fn with_queue(&self, queue: Queue) -> Self {
        Self { queue: Arc::new(self.queue.with_options(self.queue.supply.fresh(), &queue)) }
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
        Self { queue: Arc::clone(&self.queue) }
    }
}
