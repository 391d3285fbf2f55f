use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
};

/// Callers that want to be polled, in the order in which they were woken.
pub(crate) struct Ring {
    queue: Arc<Queue>,
    bells: Vec<Arc<Bell>>,
    wakers: Vec<Waker>,
}

impl Ring {
    pub(crate) fn new(callers: usize) -> Self {
        let woken = Mutex::new(VecDeque::with_capacity(callers));
        let queue = Arc::new(Queue { woken, wakes: AtomicUsize::new(0) });
        let bell = |caller| {
            let queue = Arc::clone(&queue);
            Arc::new(Bell { caller, queue, is_queued: AtomicBool::new(false) })
        };
        let bells: Vec<_> = (0..callers).map(bell).collect();
        let wakers = bells.iter().map(|bell| Waker::from(Arc::clone(bell))).collect();
        Self { queue, bells, wakers }
    }

    /// The one of that caller; of one who is not there, one that does nothing.
    pub(crate) fn waker(&self, caller: usize) -> &Waker {
        self.wakers.get(caller).unwrap_or(Waker::noop())
    }

    /// Who is to be polled next.
    pub(crate) fn next(&self) -> Option<usize> {
        let caller = self.queue.woken.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
        self.bells.get(caller)?.is_queued.store(false, Ordering::Relaxed);
        Some(caller)
    }

    /// How often a caller was woken so far.
    pub(crate) fn wakes(&self) -> usize {
        self.queue.wakes.load(Ordering::Relaxed)
    }
}

struct Queue {
    woken: Mutex<VecDeque<usize>>,
    wakes: AtomicUsize,
}

struct Bell {
    caller: usize,
    queue: Arc<Queue>,
    is_queued: AtomicBool,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.queue.wakes.fetch_add(1, Ordering::Relaxed);
        if !self.is_queued.swap(true, Ordering::Relaxed) {
            let mut woken = self.queue.woken.lock().unwrap_or_else(PoisonError::into_inner);
            woken.push_back(self.caller);
        }
    }
}
