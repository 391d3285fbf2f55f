use std::{fmt, sync::Arc, time::Duration};

use buttress_control::Nanos;

use super::{regulate::Regulate, word::PermitWord};
use crate::{
    limit::{Refusal, RefusalReason},
    queue::{CallQueue, Supply, Unavailable, WaiterEntry},
};

/// A limited number of permits.
///
/// While no call waits, taking and returning a permit is one atomic operation each, because the
/// flag for waiting calls is in the same word.
pub struct Semaphore<A> {
    permits: PermitWord,
    pub(crate) regulator: A,
}

impl<A: Regulate> Semaphore<A> {
    pub(crate) fn new(limit: u32, regulator: A) -> Self {
        Self { permits: PermitWord::new(limit), regulator }
    }

    /// A semaphore with the same limit and no permit in use.
    pub(crate) fn fresh(&self) -> Self {
        let (limit, regulator) = self.regulator.fresh(self.limit());
        Self::new(limit, regulator)
    }

    /// Takes a permit if fewer than the limit and `extra` are in use and no call waits. Returns how
    /// many are in use then.
    #[inline]
    pub(crate) fn take(&self, extra: u32) -> Option<u32> {
        self.permits.take(extra)
    }

    /// Begins the sample of an admitted call, the `in_flight`th.
    #[inline]
    pub(crate) fn begin(&self, in_flight: u32) -> A::Sample {
        self.regulator.begin(in_flight, || self.limit())
    }

    /// Sets the limit, and returns whether the limit was raised.
    ///
    /// If so, [`grant_waiters`](CallQueue::grant_waiters) must follow. A call that enqueues
    /// meanwhile, under the lock of the queue, may have read the former limit.
    pub(crate) fn store_limit(&self, limit: u32) -> bool {
        self.permits.set_limit(limit)
    }

    pub(crate) fn limit(&self) -> u32 {
        self.permits.limit()
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.permits.in_use()
    }
}

impl<A: Regulate> CallQueue<Semaphore<A>, ()> {
    /// Returns a permit.
    #[inline]
    pub(crate) fn release(self: &Arc<Self>) {
        // Without the lock of the queue: `give_back` returns the permit and reads the flag in a
        // single operation. A call that sets the flag later finds the permit in
        // `take_or_set_waiting`.
        if self.supply.permits.give_back() {
            self.grant_waiters();
        }
    }

    /// Sets the limit. Permits in use above a lowered limit stay in use until they are returned.
    pub(crate) fn set_limit(self: &Arc<Self>, limit: u32) {
        // Must run in this order, as `store_limit` says. No flag is read: with no waiter,
        // `grant_waiters` only takes the lock.
        if self.supply.store_limit(limit) {
            self.grant_waiters();
        }
    }
}

impl<A: Regulate> Supply for Semaphore<A> {
    type Grant = ();

    const TIMED: bool = false;

    #[inline]
    fn is_waiting_set(&self) -> bool {
        self.permits.is_waiting_set()
    }

    fn take_or_set_waiting(&self, _: Nanos, _: u32) -> Option<()> {
        self.permits.take_or_set_waiting().map(drop)
    }

    fn take_for_waiter(&self, _: Nanos, _: WaiterEntry) -> Result<(), Unavailable> {
        // No timer helps. A call that returns a permit, or raises the limit, looks at the queue.
        if self.permits.take_for_waiter() { Ok(()) } else { Err(Unavailable::Unknown) }
    }

    fn clear_waiting(&self) -> bool {
        self.permits.clear_waiting()
    }

    fn give_back(&self, _: Nanos, (): ()) -> bool {
        self.permits.give_back()
    }

    fn expected_wait(
        &self,
        _: Nanos,
        ahead: u64,
        _: u32,
        mean: Option<Duration>,
    ) -> Option<Duration> {
        let position = u32::try_from(ahead).unwrap_or(u32::MAX).saturating_add(1);
        mean.map(|mean| mean.saturating_mul(position))
    }

    fn refusal(&self, _: Nanos, why: RefusalReason, _: u64, _: u32) -> Refusal {
        Refusal::new(why)
    }
}

impl<A> fmt::Debug for Semaphore<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("permits", &self.permits).finish_non_exhaustive()
    }
}
