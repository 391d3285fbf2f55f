use std::{sync::atomic::Ordering, time::Duration};

use buttress_state::sync::lock;

use super::{CallQueue, supply::Supply};
use crate::limit::Queue;

/// How many calls may wait, and for how long. Handles change both while calls run.
impl<S: Supply> CallQueue<S, S::Grant> {
    /// The options of the queue, without its measurements.
    pub(crate) fn options(&self) -> Queue {
        lock(&self.waiters).options.fresh()
    }

    /// The maximum number of waiting calls.
    #[inline]
    pub(crate) fn max(&self) -> usize {
        // Relaxed: `push` asks again under the lock.
        self.max.load(Ordering::Relaxed)
    }

    /// Sets the maximum number of waiting calls. Those that wait stay.
    pub(crate) fn set_max(&self, max: usize) {
        let mut waiters = lock(&self.waiters);
        waiters.options.max = max;
        // Under the lock, so that of two settings both values come from the same.
        self.max.store(max, Ordering::Relaxed);
    }

    pub(crate) fn max_wait(&self) -> Option<Duration> {
        lock(&self.waiters).options.max_wait
    }

    /// Sets the longest wait of the calls that come from now on.
    pub(crate) fn set_max_wait(&self, max: Option<Duration>) {
        lock(&self.waiters).options.max_wait = max;
    }

    /// Whether no call waits, and none may wait.
    #[inline]
    pub(crate) fn is_off(&self) -> bool {
        // No lock: with a maximum of 0, no call enqueues or sets the waiting flag. Calls that wait
        // since the maximum was higher have set the flag.
        self.max() == 0 && !self.supply.is_waiting_set()
    }
}
