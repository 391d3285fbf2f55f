use std::sync::Arc;

use buttress_core::{Criticality, Guard, Upload, Verdict};

use super::{regulate::Regulate, semaphore::Semaphore};
use crate::{
    limit::{LimitPermit, Settings},
    queue::{CallQueue, FromGrant},
};

/// A permit of a [`ConcurrencyLimit`](crate::ConcurrencyLimit), returned on drop.
#[derive(Debug)]
pub struct ConcurrencyPermit<A: Regulate> {
    queue: Arc<CallQueue<Semaphore<A>, ()>>,
    sample: A::Sample,
}

impl<A: Regulate> ConcurrencyPermit<A> {
    #[inline]
    pub(crate) fn new(
        queue: &Arc<CallQueue<Semaphore<A>, ()>>,
        in_flight: u32,
        criticality: Criticality,
    ) -> Self {
        let sample = queue.supply.admit(in_flight, criticality);
        Self { queue: Arc::clone(queue), sample }
    }

    #[inline]
    fn end(&mut self, verdict: Option<Verdict>) {
        let semaphore = &self.queue.supply;
        // `store_limit` runs under the lock of `Adaptive`. `grant_waiters` must run after that lock
        // is released, because it takes the lock of the queue and wakes foreign code.
        if semaphore.regulator.end(&mut self.sample, verdict, |limit| semaphore.store_limit(limit))
        {
            self.queue.grant_waiters();
        }
    }
}

impl<A: Regulate> FromGrant<Semaphore<A>> for ConcurrencyPermit<A> {
    fn from_grant(
        queue: &Arc<CallQueue<Semaphore<A>, ()>>,
        (): (),
        criticality: Criticality,
        _: &Settings,
    ) -> Self {
        // The grant is among the permits in use since `take_for_waiter`, so the count includes it.
        Self::new(queue, queue.supply.in_flight(), criticality)
    }
}

impl<A: Regulate> Guard for ConcurrencyPermit<A> {}

impl<A: Regulate> LimitPermit for ConcurrencyPermit<A> {
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

impl<A: Regulate> Drop for ConcurrencyPermit<A> {
    #[inline]
    fn drop(&mut self) {
        // Must run before `end`: a user's law may panic there, and the permit must be free by then.
        self.queue.release();
        self.end(None);
    }
}
