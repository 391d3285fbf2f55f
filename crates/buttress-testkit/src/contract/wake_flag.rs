use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

/// A waker that records its wake-up and passes it on.
pub(crate) struct WakeFlag {
    woken: AtomicBool,
    outer: Mutex<Waker>,
}

impl WakeFlag {
    /// Creates a woken flag, because a new future must be polled.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { woken: AtomicBool::new(true), outer: Mutex::new(Waker::noop().clone()) })
    }

    pub(crate) fn woken(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }

    /// Returns the waker for a poll, and clears the flag.
    pub(crate) fn take(self: &Arc<Self>) -> Waker {
        self.woken.store(false, Ordering::SeqCst);
        Waker::from(Arc::clone(self))
    }

    /// Sets the flag.
    pub(crate) fn wake_up(&self) {
        self.woken.store(true, Ordering::SeqCst);
    }

    /// Also wakes `outer` from now on.
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
