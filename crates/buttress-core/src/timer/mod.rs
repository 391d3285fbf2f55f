mod deadline_list;
mod queue;
mod tick_timer;

use std::{
    pin::{Pin, pin},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    task::{Context, Poll},
};

use tokio::{
    runtime::{Handle, Id},
    task::coop::unconstrained,
    time::{Sleep, sleep_until},
};

use self::queue::{QueuedTimer, TimerQueue};
pub use self::tick_timer::TickTimer;
use crate::{
    Deadline,
    per_thread::{COPIES, thread_number},
};

/// The timer of a call, among the [`Timers`] of its layer.
///
/// An unpolled timer costs nothing: poll the timer only while the call is pending. Dropping the
/// timer cancels it. Poll the timer after the call, so that a response at the same instant wins.
#[derive(Debug)]
pub struct Timer {
    state: TimerState,
}

impl Timer {
    /// Creates a timer that is not set yet.
    pub const fn new() -> Self {
        Self { state: TimerState::Unarmed }
    }

    /// Ready once `deadline` has passed, and from then on.
    ///
    /// The first poll sets the timer: pass the same `deadline` and the same `timers` to every later
    /// poll. A pending timer wakes the task that polled last. Like tokio's own timers, this needs a
    /// tokio runtime with its time driver enabled, and panics without.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: Deadline, timers: &Timers) -> Poll<()> {
        if matches!(self.state, TimerState::Unarmed) {
            self.state = match timers.queue().and_then(|queue| queue.join(cx.waker(), deadline)) {
                Some((queued, passed)) => {
                    self.state = TimerState::Queued(queued);
                    return passed;
                }
                // Boxed: rare, and a sleep in place would make each timer larger and immovable.
                None => TimerState::Alone(Box::pin(sleep_until(deadline.instant()))),
            };
        }
        match &mut self.state {
            TimerState::Queued(queued) => queued.poll(cx),
            // `unconstrained`, because the call may have used up the task's cooperative budget. The
            // timer would be pending for that reason alone, and the call would escape its deadline.
            TimerState::Alone(sleep) => pin!(unconstrained(sleep.as_mut())).poll(cx),
            TimerState::Unarmed | TimerState::Disarmed => Poll::Pending,
        }
    }

    /// Returns whether the timer was set, which means that the call has been pending.
    #[inline]
    pub const fn is_set(&self) -> bool {
        matches!(self.state, TimerState::Queued(_) | TimerState::Alone(_))
    }

    /// Stops the timer for good.
    pub fn disarm(&mut self) {
        self.state = TimerState::Disarmed;
    }
}

impl Default for Timer {
    fn default() -> Self {
        Self::new()
    }
}

/// The timers of a layer: a queue per thread and runtime.
///
/// The calls of a layer share a timeout, so they expire in the order in which they began. A single
/// timer of the runtime serves a whole queue. Each thread has a queue of its own to avoid
/// contention. Each runtime has its own, because a timer fires only while its runtime runs. A
/// deadline far out of order gets a runtime timer of its own, which allocates.
#[derive(Debug, Default)]
pub struct Timers {
    shards: [TimerShard; COPIES],
}

impl Timers {
    /// Returns the number of calls in the queues. Calls with a runtime timer of their own do not
    /// count.
    pub fn pending(&self) -> usize {
        self.shards.iter().map(TimerShard::pending).sum()
    }

    /// The queue for the current thread and runtime. `None` outside of a runtime.
    fn queue(&self) -> Option<Arc<TimerQueue>> {
        let runtime = Handle::try_current().ok()?.id();
        self.shards.get(thread_number()).map(|shard| shard.queue(runtime))
    }
}

#[derive(Debug)]
enum TimerState {
    Unarmed,
    /// In a queue with the other calls of the layer.
    Queued(QueuedTimer),
    /// With a runtime timer of its own, because the deadline is far out of the queue's order.
    Alone(Pin<Box<Sleep>>),
    Disarmed,
}

#[derive(Debug, Default)]
struct TimerShard {
    /// The queue of the first runtime, which is the only runtime in most programs. Reading it takes
    /// no lock.
    first: OnceLock<Arc<TimerQueue>>,
    /// The queues of all further runtimes. The lock is held to find or insert a queue.
    others: Mutex<Vec<Arc<TimerQueue>>>,
}

impl TimerShard {
    fn queue(&self, runtime: Id) -> Arc<TimerQueue> {
        // The common case takes no lock: one load of the `OnceLock`.
        let first = self.first.get_or_init(|| TimerQueue::new(runtime));
        if first.runtime() == runtime {
            return Arc::clone(first);
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = others.iter().find(|queue| queue.runtime() == runtime) {
            return Arc::clone(queue);
        }
        // The queue of a runtime that has ended is empty. Removed here, and dropped after the
        // lock, because its timer takes the lock of the runtime's time driver.
        let abandoned = others.extract_if(.., |queue| queue.len() == 0).collect::<Vec<_>>();
        let queue = TimerQueue::new(runtime);
        others.push(Arc::clone(&queue));
        drop(others);
        drop(abandoned);
        queue
    }

    fn pending(&self) -> usize {
        // Cloned, because `len` takes the lock of each queue and may wake tasks.
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.first.get().into_iter().chain(&others).map(|queue| queue.len()).sum()
    }
}
