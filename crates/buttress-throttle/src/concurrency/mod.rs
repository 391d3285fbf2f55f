use std::sync::Arc;

use self::{permit::ConcurrencyPermit, semaphore::Semaphore};
use crate::{
    limit::{Admission, CallInfo, Limit, LimitTemplate, QueueOptions, Queued},
    queue::{CallQueue, QueuedCall},
    sync::is_only,
};

mod permit;
mod regulate;
mod semaphore;
mod word;

pub use self::regulate::{Adaptive, Fixed, Regulate};

/// So many calls at a time: a number that the user sets ([`Fixed`]) or a law
/// ([`Adaptive`]).
#[derive(Debug)]
#[doc(alias("bulkhead", "semaphore", "max in flight"))]
pub struct ConcurrencyLimit<A = Fixed> {
    pub(crate) queue: Arc<CallQueue<Semaphore<A>, ()>>,
}

impl<A: Regulate> ConcurrencyLimit<A> {
    pub(crate) fn new(limit: u32, regulator: A) -> Self {
        Self { queue: Arc::new(CallQueue::new(Semaphore::new(limit, regulator))) }
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
        self.queue.admit(call)
    }
}

impl<A: Regulate> LimitTemplate for ConcurrencyLimit<A> {
    type View = Self;

    fn view(&self) -> Self {
        self.clone()
    }

    fn fresh(&self) -> Self {
        Self { queue: Arc::new(self.queue.fresh(self.queue.supply.fresh())) }
    }

    fn is_idle(&self) -> bool {
        // Every permit and every place in line holds the queue.
        is_only(&self.queue) && self.queue.supply.regulator.is_idle()
    }

    fn admitted(&self) -> [u64; 4] {
        self.queue.supply.admitted()
    }
}

impl<A: Regulate> Queued for ConcurrencyLimit<A> {
    fn change(&self, change: impl Fn(&mut QueueOptions)) {
        self.queue.change(change);
    }

    fn queued(&self) -> usize {
        self.queue.len()
    }
}

impl<A> Clone for ConcurrencyLimit<A> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue) }
    }
}
