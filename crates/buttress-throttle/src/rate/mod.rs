use std::{fmt, sync::Arc, time::Duration};

use buttress_control::{Nanos, Rates, Reservation};
use buttress_core::{Attempt, Criticality, Enforcement, Guard, Quota};
use buttress_state::sync::is_only;

use self::state::RateState;
use crate::{
    limit::{
        Admission, CallInfo, KeyLimit, Limit, LimitPermit, LimitTemplate, Queue, Queued, RateBased,
        Refusal, RefusalReason, Settings, sealed,
    },
    queue::{CallQueue, FromGrant, QueuedCall, Supply},
};

mod cost;
mod state;

pub use self::cost::{Cost, UnitCost};

/// A limit on the number of calls per unit of time, by the generic cell rate algorithm.
#[doc(alias("rate limiter", "GCRA", "leaky bucket", "token bucket"))]
pub struct RateLimit<W = UnitCost> {
    pub(crate) queue: Arc<CallQueue<RateState, Reservation>>,
    cost: W,
}

impl<W> RateLimit<W> {
    pub(crate) fn new(rates: Rates, cost: W) -> Self {
        Self { queue: Arc::new(CallQueue::new(RateState::new(rates), &Queue::new(0))), cost }
    }
}

impl<W: Cost<Req>, Req> Limit<Req> for RateLimit<W> {
    type Permit = RateGrant;
    type Wait = QueuedCall<RateState>;
    type KeyPermit = RateGrant;
    type KeyWait = QueuedCall<RateState>;

    #[inline]
    fn admit(
        &self,
        request: &Req,
        call: &CallInfo<'_>,
    ) -> Admission<RateGrant, QueuedCall<RateState>> {
        let cells = self.cost.cost(request);
        let (queue, now) = (&self.queue, self.queue.now());
        let state = &queue.supply;
        // The flag first: while calls wait, cells are taken under the lock of the queue only. The
        // two steps are no single operation, see `is_waiting_set`.
        if !state.is_waiting_set() && state.rates.take(now, cells).is_ok() {
            state.admit(call.criticality);
            return Admission::Admitted(RateGrant::new(state.quotas(call.settings, now)));
        }
        admit_later(queue, now, cells, call)
    }

    #[inline]
    fn admit_key(
        limit: Arc<KeyLimit<Self>>,
        request: &Req,
        call: &CallInfo<'_>,
    ) -> Admission<RateGrant, QueuedCall<RateState>> {
        limit.0.admit(request, call)
    }
}

#[cold]
fn admit_later(
    queue: &Arc<CallQueue<RateState, Reservation>>,
    now: Nanos,
    cells: u32,
    call: &CallInfo<'_>,
) -> Admission<RateGrant, QueuedCall<RateState>> {
    let state = &queue.supply;
    // Read here and not in `admit`, which costs nothing more while cells are free.
    let spare = Attempt::current().is_spare();
    // Also in observe mode, a spare call takes only what is free and due to no waiter.
    let observed = call.settings.enforcement == Enforcement::Observe && !spare;
    // Observe mode: a call that would have waited is admitted now, with cells of later calls.
    let max_delay = if observed { state.full_queue(queue.max()) } else { Duration::ZERO };
    // A call of no cells never waits, whatever the queue.
    if (cells == 0 || observed) && state.rates.reserve(now, cells, max_delay).is_ok() {
        state.admit(call.criticality);
        return Admission::Admitted(RateGrant::new(state.quotas(call.settings, now)));
    }
    let refusal = if state.is_never(now, cells) {
        Refusal::new(RefusalReason::Cost)
    } else if spare || observed || queue.is_off() {
        let others_wait = spare && state.is_waiting_set();
        let ahead = if others_wait { queue.ahead(now, call.criticality) } else { 0 };
        state.refusal(now, RefusalReason::Rate, ahead, cells)
    } else {
        match QueuedCall::enter(queue, cells, call) {
            Admission::Refused(refusal) => refusal,
            admission => return admission,
        }
    };
    Admission::Refused(Refusal { quotas: state.quotas(call.settings, now), ..refusal })
}

impl<W> sealed::Sealed for RateLimit<W> {}

impl<W: Clone> LimitTemplate for RateLimit<W> {
    type View = RateLimit;

    fn view(&self) -> RateLimit {
        RateLimit { queue: Arc::clone(&self.queue), cost: UnitCost }
    }

    fn fresh(&self) -> Self {
        Self {
            queue: Arc::new(self.queue.fresh(self.queue.supply.fresh())),
            cost: self.cost.clone(),
        }
    }

    fn is_idle(&self) -> bool {
        // `is_only` first: its Acquire fence makes the cells that former holders took visible to
        // the relaxed loads of `is_fresh`.
        is_only(&self.queue) && self.queue.supply.rates.is_fresh(self.queue.now())
    }

    fn admitted(&self) -> [u64; 4] {
        self.queue.supply.admitted()
    }

    fn queued(&self) -> usize {
        self.queue.len()
    }
}

impl<W: Clone> Queued for RateLimit<W> {
    fn with_queue(&self, queue: Queue) -> Self {
        let queue = self.queue.with_options(self.queue.supply.fresh(), &queue);
        Self { queue: Arc::new(queue), cost: self.cost.clone() }
    }

    fn max_queued(&self) -> usize {
        self.queue.max()
    }

    fn set_max_queued(&self, max: usize) {
        self.queue.set_max(max);
    }

    fn max_wait(&self) -> Option<Duration> {
        self.queue.max_wait()
    }

    fn set_max_wait(&self, max: Option<Duration>) {
        self.queue.set_max_wait(max);
    }
}

impl<W: Clone> RateBased for RateLimit<W> {
    type WithCost<C: Clone> = RateLimit<C>;

    const COST_STARTS_FRESH: bool = false;

    fn with_cost<C: Clone>(self, cost: C) -> RateLimit<C> {
        RateLimit { queue: self.queue, cost }
    }
}

impl<W: Clone> Clone for RateLimit<W> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue), cost: self.cost.clone() }
    }
}

impl<W> fmt::Debug for RateLimit<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit").field("rates", &self.queue.supply.rates).finish_non_exhaustive()
    }
}

/// The value that a call of a [`RateLimit`] holds. There is nothing to return.
#[derive(Debug)]
pub struct RateGrant {
    quotas: Option<Box<[Quota]>>,
}

impl RateGrant {
    #[inline]
    pub(crate) const fn new(quotas: Option<Box<[Quota]>>) -> Self {
        Self { quotas }
    }
}

impl FromGrant<RateState> for RateGrant {
    // The reservation is dropped, which gives nothing back: the cells are spent.
    fn from_grant(
        queue: Arc<CallQueue<RateState, Reservation>>,
        _: Reservation,
        criticality: Criticality,
        settings: &Settings,
    ) -> Self {
        queue.supply.admit(criticality);
        Self::new(queue.supply.quotas(settings, queue.now()))
    }
}

impl Guard for RateGrant {}

impl LimitPermit for RateGrant {
    const OUTLIVES_HEAD: bool = false;

    #[inline]
    fn quotas(&self) -> &[Quota] {
        self.quotas.as_deref().unwrap_or_default()
    }
}
