use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

/// Remembers whether it was woken, and passes that on.
pub(crate) struct WakeFlag {
    woken: AtomicBool,
    outer: Mutex<Waker>,
}

impl WakeFlag {
    /// A flag that counts as woken: a new future is to be polled.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { woken: AtomicBool::new(true), outer: Mutex::new(Waker::noop().clone()) })
    }

    pub(crate) fn woken(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }

    /// The waker for a poll, before which nothing counts as woken any more.
    pub(crate) fn take(self: &Arc<Self>) -> Waker {
        self.woken.store(false, Ordering::SeqCst);
        Waker::from(Arc::clone(self))
    }

    /// Makes it count as woken.
    pub(crate) fn wake_up(&self) {
        self.woken.store(true, Ordering::SeqCst);
    }

    /// Wakes `outer` too from now on.
    pub(crate) fn forward(&self, outer: &Waker) {
        self.outer.lock().unwrap_or_else(PoisonError::into_inner).clone_from(outer);
    }
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.wake_up();
        let outer = self.outer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        outer.wake();
    }
}
