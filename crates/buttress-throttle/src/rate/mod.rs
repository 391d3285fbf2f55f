use std::{fmt, sync::Arc, time::Duration};

use buttress_control::Rates;
use buttress_state::sync::is_only;

pub(crate) use self::state::RateState;
use crate::{
    fleet::FleetSnapshot,
    limit::{
        Admission, CallInfo, KeyLimit, Limit, LimitTemplate, LocalLimit, Queue, Queued, RateBased,
        sealed,
    },
    queue::{CallQueue, QueuedCall, Supply},
};

mod cells;
mod cost;
mod state;

pub use self::cells::Cells;
pub(crate) use self::cells::{CellQueue, CellSupply, CellsLeft, RateGrant};
pub use self::cost::{Cost, UnitCost};

/// A limit on the number of calls per unit of time, by the generic cell rate algorithm.
///
/// The cells come from [`Rates`] in this process.
#[doc(alias("rate limiter", "GCRA", "leaky bucket", "token bucket"))]
pub struct RateLimit<W = UnitCost, Cl: Cells = Rates> {
    pub(crate) queue: Arc<CellQueue<Cl::Supply>>,
    cost: W,
}

impl<W, Cl: Cells> RateLimit<W, Cl> {
    pub(crate) fn new(supply: Cl::Supply, queue: &Queue, cost: W) -> Self {
        Self { queue: Arc::new(CallQueue::new(supply, queue)), cost }
    }

    /// The same options over other cells, in the first state.
    pub(crate) fn over<To: Cells>(
        self,
        supply: impl FnOnce(&Cl::Supply) -> To::Supply,
    ) -> RateLimit<W, To> {
        let options = self.queue.options();
        RateLimit::new(supply(&self.queue.supply), &options, self.cost)
    }
}

impl<W: Cost<Req>, Cl: Cells, Req> Limit<Req> for RateLimit<W, Cl> {
    type Permit = RateGrant;
    type Wait = QueuedCall<Cl::Supply>;
    type KeyPermit = RateGrant;
    type KeyWait = QueuedCall<Cl::Supply>;

    #[inline]
    fn admit(
        &self,
        request: &Req,
        call: &CallInfo<'_>,
    ) -> Admission<RateGrant, QueuedCall<Cl::Supply>> {
        let cells = self.cost.cost(request);
        let (queue, now) = (&self.queue, self.queue.now());
        let supply = &queue.supply;
        // The flag first: while calls wait, cells are taken under the lock of the queue only. The
        // two steps are no single operation, see `is_waiting_set`.
        if !supply.is_waiting_set()
            && let Some(left) = supply.take(now, cells)
        {
            if left == CellsLeft::Few {
                Cl::Supply::restock_ahead(queue);
            }
            supply.count(call.criticality);
            return Admission::Admitted(RateGrant::new(supply.quotas(call.settings, now)));
        }
        Cl::Supply::admit_later(queue, now, cells, call)
    }

    #[inline]
    fn admit_key(
        limit: Arc<KeyLimit<Self>>,
        request: &Req,
        call: &CallInfo<'_>,
    ) -> Admission<RateGrant, QueuedCall<Cl::Supply>> {
        limit.0.admit(request, call)
    }
}

impl<W, Cl: Cells> sealed::Sealed for RateLimit<W, Cl> {}

impl<W: Clone, Cl: Cells> LimitTemplate for RateLimit<W, Cl> {
    type View = RateLimit<UnitCost, Cl>;

    fn view(&self) -> RateLimit<UnitCost, Cl> {
        RateLimit { queue: Arc::clone(&self.queue), cost: UnitCost }
    }

    fn fresh(&self) -> Self {
        Self {
            queue: Arc::new(self.queue.fresh(self.queue.supply.fresh())),
            cost: self.cost.clone(),
        }
    }

    const NEEDS_KEY: bool = Cl::Supply::NEEDS_KEY;

    fn is_bound(&self) -> bool {
        self.queue.supply.is_bound()
    }

    fn bind(&self, key: Option<&[u8]>) {
        self.queue.supply.bind(key);
    }

    fn is_idle(&self) -> bool {
        // `is_only` first: its Acquire fence makes the cells that former holders took visible to
        // the relaxed loads of `is_fresh`.
        if !is_only(&self.queue) {
            return false;
        }
        let is_idle = self.queue.supply.is_idle(self.queue.now());
        if !is_idle {
            Cl::Supply::settle_unused(&self.queue);
        }
        is_idle
    }

    fn admitted(&self) -> [u64; 4] {
        self.queue.supply.admitted()
    }

    fn queued(&self) -> usize {
        self.queue.len()
    }

    fn fleet(&self) -> Option<FleetSnapshot> {
        self.queue.supply.fleet()
    }
}

impl<W: Clone> LocalLimit for RateLimit<W> {}

impl<W: Clone, Cl: Cells> Queued for RateLimit<W, Cl> {
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

impl<W: Clone, Cl: Cells> RateBased for RateLimit<W, Cl> {
    type WithCost<C: Clone> = RateLimit<C, Cl>;

    const COST_STARTS_FRESH: bool = false;

    fn with_cost<C: Clone>(self, cost: C) -> RateLimit<C, Cl> {
        RateLimit { queue: self.queue, cost }
    }
}

impl<W: Clone, Cl: Cells> Clone for RateLimit<W, Cl> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue), cost: self.cost.clone() }
    }
}

impl<W, Cl: Cells> fmt::Debug for RateLimit<W, Cl> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("rates", &self.queue.supply.rates())
            .finish_non_exhaustive()
    }
}
