use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
};

/// The callers that were woken and not yet polled, in the order in which they were woken.
pub(crate) struct WakeQueue {
    woken: Arc<WokenCallers>,
    callers: Vec<Arc<CallerWaker>>,
    wakers: Vec<Waker>,
}

impl WakeQueue {
    pub(crate) fn new(callers: usize) -> Self {
        let queue = Mutex::new(VecDeque::with_capacity(callers));
        let woken = Arc::new(WokenCallers { queue, wakes: AtomicUsize::new(0) });
        let caller_waker = |caller| {
            let woken = Arc::clone(&woken);
            Arc::new(CallerWaker { caller, woken, is_queued: AtomicBool::new(false) })
        };
        let callers: Vec<_> = (0..callers).map(caller_waker).collect();
        let wakers = callers.iter().map(|caller| Waker::from(Arc::clone(caller))).collect();
        Self { woken, callers, wakers }
    }

    /// Returns the waker of `caller`, or a waker that does nothing if there is no such caller.
    pub(crate) fn waker(&self, caller: usize) -> &Waker {
        self.wakers.get(caller).unwrap_or(Waker::noop())
    }

    /// Removes and returns the caller to poll next.
    pub(crate) fn next(&self) -> Option<usize> {
        let caller = self.woken.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
        self.callers.get(caller)?.is_queued.store(false, Ordering::Relaxed);
        Some(caller)
    }

    /// Returns the number of wakes so far, of all callers.
    pub(crate) fn wakes(&self) -> usize {
        self.woken.wakes.load(Ordering::Relaxed)
    }
}

struct WokenCallers {
    queue: Mutex<VecDeque<usize>>,
    wakes: AtomicUsize,
}

struct CallerWaker {
    caller: usize,
    woken: Arc<WokenCallers>,
    // Relaxed: wakers and `WakeQueue::next` run on one thread, the bench's.
    is_queued: AtomicBool,
}

impl Wake for CallerWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.wakes.fetch_add(1, Ordering::Relaxed);
        if !self.is_queued.swap(true, Ordering::Relaxed) {
            let mut queue = self.woken.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.push_back(self.caller);
        }
    }
}
