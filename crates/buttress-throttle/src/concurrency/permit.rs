use std::sync::Arc;

use buttress_core::{Guard, Upload, Verdict};

use super::{regulate::Regulate, semaphore::Gate};
use crate::{limit::Hold, queue::Queue};

/// One of the permits of a [`ConcurrencyLimit`](crate::ConcurrencyLimit), given back when dropped.
#[derive(Debug)]
pub struct Permit<A: Regulate> {
    queue: Arc<Queue<Gate<A>, ()>>,
    sample: A::Sample,
}

impl<A: Regulate> Permit<A> {
    #[inline]
    pub(crate) const fn new(queue: Arc<Queue<Gate<A>, ()>>, sample: A::Sample) -> Self {
        Self { queue, sample }
    }

    #[inline]
    fn end(&mut self, verdict: Option<Verdict>) {
        let gate = &self.queue.supply;
        if gate.regulator.end(&mut self.sample, verdict, |limit| gate.store_limit(limit)) {
            self.queue.hand_over();
        }
    }
}

impl<A: Regulate> Guard for Permit<A> {}

impl<A: Regulate> Hold for Permit<A> {
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

impl<A: Regulate> Drop for Permit<A> {
    #[inline]
    fn drop(&mut self) {
        // First: a law of the user's may panic, and then the permit is free all the same.
        self.queue.release();
        self.end(None);
    }
}
