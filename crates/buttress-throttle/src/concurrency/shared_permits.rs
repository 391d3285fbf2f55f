use std::{fmt, sync::Arc};

use buttress_core::{PerThread, ThreadCopy};

use super::{regulate::Regulate, semaphore::Semaphore};
use crate::{
    limit::CountsByCriticality,
    queue::{CallQueue, HeldQueue},
};

/// The permits of a limit with their queue, and for each thread what its calls write besides.
pub(crate) struct SharedPermits<A> {
    queue: Arc<PermitQueue<A>>,
    threads: PerThread<ThreadPermits<A>>,
    /// The admitted calls, if the limit is that of a key. Such a call has taken a lock to find the
    /// limit, so copies for each thread would save little, and cost memory for each key.
    pub(crate) admitted: CountsByCriticality,
}

impl<A> SharedPermits<A> {
    pub(crate) fn new(queue: PermitQueue<A>) -> Self {
        let admitted = CountsByCriticality::new();
        Self { queue: Arc::new(queue), threads: PerThread::new(), admitted }
    }

    pub(crate) const fn queue(&self) -> &Arc<PermitQueue<A>> {
        &self.queue
    }

    /// The reference to the queue that a call of this thread keeps.
    #[inline]
    pub(crate) fn of_thread(&self) -> &Arc<ThreadCopy<ThreadPermits<A>>> {
        self.threads.get_or_make(|| ThreadPermits {
            queue: Arc::clone(&self.queue),
            admitted: CountsByCriticality::new(),
        })
    }

    pub(crate) fn admitted(&self) -> [u64; 4] {
        let of_threads = self.threads.copies().map(|copy| copy.admitted.counts());
        of_threads.fold(self.admitted.counts(), CountsByCriticality::sum)
    }
}

/// The permits of a limit, with the admitted calls of a thread.
pub struct ThreadPermits<A> {
    queue: Arc<PermitQueue<A>>,
    admitted: CountsByCriticality,
}

/// A reference by which a call keeps its permits, and the counts that it writes.
pub trait HeldPermits<A: Regulate>: HeldQueue<Semaphore<A>> + Send + Sync + 'static {
    fn admitted(&self) -> &CountsByCriticality;
}

impl<A: Regulate> HeldQueue<Semaphore<A>> for Arc<ThreadCopy<ThreadPermits<A>>> {
    #[inline]
    fn queue(&self) -> &Arc<PermitQueue<A>> {
        &self.queue
    }
}

impl<A: Regulate> HeldPermits<A> for Arc<ThreadCopy<ThreadPermits<A>>> {
    #[inline]
    fn admitted(&self) -> &CountsByCriticality {
        &self.admitted
    }
}

impl<A> fmt::Debug for SharedPermits<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPermits").finish_non_exhaustive()
    }
}

impl<A> fmt::Debug for ThreadPermits<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPermits").finish_non_exhaustive()
    }
}

pub(crate) type PermitQueue<A> = CallQueue<Semaphore<A>, ()>;
