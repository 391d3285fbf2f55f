use std::{fmt, sync::Arc};

use buttress_core::{Criticality, Guard, ThreadCopy, Upload, Verdict};

use super::{
    regulate::Regulate,
    semaphore::Semaphore,
    shared_permits::{HeldPermits, ThreadPermits},
};
use crate::{
    limit::{LimitPermit, Settings},
    queue::FromGrant,
};

/// A permit of a [`ConcurrencyLimit`](crate::ConcurrencyLimit), returned on drop.
pub struct ConcurrencyPermit<A: Regulate, H: HeldPermits<A> = Arc<ThreadCopy<ThreadPermits<A>>>> {
    held: H,
    sample: A::Sample,
}

impl<A: Regulate, H: HeldPermits<A>> ConcurrencyPermit<A, H> {
    #[inline]
    pub(crate) fn new(held: H, in_flight: u32, criticality: Criticality) -> Self {
        held.admitted().add(criticality);
        let sample = held.queue().supply.begin(in_flight);
        Self { held, sample }
    }

    #[inline]
    fn end(&mut self, verdict: Option<Verdict>) {
        let queue = self.held.queue();
        let semaphore = &queue.supply;
        // `store_limit` runs under the lock of `Adaptive`. `grant_waiters` must run after that lock
        // is released, because it takes the lock of the queue and wakes foreign code.
        if semaphore.regulator.end(&mut self.sample, verdict, |limit| semaphore.store_limit(limit))
        {
            queue.grant_waiters();
        }
    }
}

impl<A: Regulate, H: HeldPermits<A>> FromGrant<Semaphore<A>, H> for ConcurrencyPermit<A, H> {
    fn from_grant(held: H, (): (), criticality: Criticality, _: &Settings) -> Self {
        // The grant is among the permits in use since `take_for_waiter`, so the count includes it.
        let in_flight = held.queue().supply.in_flight();
        Self::new(held, in_flight, criticality)
    }
}

impl<A: Regulate, H: HeldPermits<A>> Guard for ConcurrencyPermit<A, H> {}

impl<A: Regulate, H: HeldPermits<A>> LimitPermit for ConcurrencyPermit<A, H> {
    const OUTLIVES_HEAD: bool = true;

    #[inline]
    fn watch(&mut self, upload: impl FnOnce() -> Option<Upload>) {
        A::watch(&mut self.sample, upload);
    }

    #[inline]
    fn forget(&mut self) {
        self.sample = A::Sample::default();
    }

    #[inline]
    fn settle(&mut self, verdict: Verdict) {
        self.end(Some(verdict));
    }
}

impl<A: Regulate, H: HeldPermits<A>> Drop for ConcurrencyPermit<A, H> {
    #[inline]
    fn drop(&mut self) {
        // Must run before `end`: a user's law may panic there, and the permit must be free by then.
        self.held.queue().release();
        self.end(None);
    }
}

impl<A: Regulate, H: HeldPermits<A>> fmt::Debug for ConcurrencyPermit<A, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyPermit").field("sample", &self.sample).finish_non_exhaustive()
    }
}
