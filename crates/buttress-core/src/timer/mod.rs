mod deadline_list;
mod queue;
mod tick_timer;

use std::{
    cell::Cell,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use tokio::{
    runtime::{Handle, Id},
    task::coop::unconstrained,
    time::{Sleep, sleep_until},
};

use self::queue::{QueuedTimer, TimerQueue};
pub use self::tick_timer::TickTimer;
use crate::Deadline;

/// One call's timer, among the [`Timers`] of its layer.
///
/// It costs nothing until it is polled, which is when the call is pending, and is off when it is
/// dropped. Poll it after the call, so that an answer at the same instant wins.
#[derive(Debug)]
pub struct Timer {
    state: TimerState,
}

impl Timer {
    /// A timer that is not running yet.
    pub const fn new() -> Self {
        Self { state: TimerState::Unarmed }
    }

    /// Ready once `deadline` has passed, and from then on.
    ///
    /// It is set at the first poll: give the same `deadline` and the same `timers` at every other.
    /// While it is pending it wakes the task that polled last. That takes a tokio runtime with its
    /// time driver enabled, as tokio's own timers do, and panics without.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: Deadline, timers: &Timers) -> Poll<()> {
        if matches!(self.state, TimerState::Unarmed) {
            self.state = match timers.queue().and_then(|queue| queue.join(cx.waker(), deadline)) {
                Some((queued, passed)) => {
                    self.state = TimerState::Queued(queued);
                    return passed;
                }
                None => TimerState::Alone(Box::pin(sleep_until(deadline.instant()))),
            };
        }
        match &mut self.state {
            TimerState::Queued(queued) => queued.poll(cx),
            // A call that used up the task's budget is pending for that reason only, and must not
            // thereby escape its deadline.
            TimerState::Alone(sleep) => pin!(unconstrained(sleep.as_mut())).poll(cx),
            TimerState::Unarmed | TimerState::Disarmed => Poll::Pending,
        }
    }

    /// Whether it has been set, and so the call has been pending.
    #[inline]
    pub const fn is_set(&self) -> bool {
        matches!(self.state, TimerState::Queued(_) | TimerState::Alone(_))
    }

    /// Makes it never fire again.
    pub fn disarm(&mut self) {
        self.state = TimerState::Disarmed;
    }
}

impl Default for Timer {
    fn default() -> Self {
        Self::new()
    }
}

/// The timers of one layer: a queue per thread and runtime.
///
/// The calls of a layer share one timeout, so they expire in the order they began, and one timer of
/// the runtime serves a whole queue. Threads have queues of their own so that they do not contend;
/// runtimes do, because a timer fires only while its runtime runs. A deadline far out of that order
/// gets a timer of the runtime for itself, which is an allocation.
#[derive(Debug, Default)]
pub struct Timers {
    shards: [TimerShard; SHARDS],
}

impl Timers {
    /// How many calls are in a queue. Those with a timer for themselves do not count.
    pub fn pending(&self) -> usize {
        self.shards.iter().map(TimerShard::pending).sum()
    }

    /// The queue for the current thread and runtime; `None` outside of a runtime.
    fn queue(&self) -> Option<Arc<TimerQueue>> {
        let runtime = Handle::try_current().ok()?.id();
        self.shards.get(shard() % SHARDS).map(|shard| shard.queue(runtime))
    }
}

#[derive(Debug)]
enum TimerState {
    Unarmed,
    /// In a queue with the layer's other calls.
    Queued(QueuedTimer),
    /// Alone, because its deadline is far out of the queue's order.
    Alone(Pin<Box<Sleep>>),
    Disarmed,
}

#[derive(Debug, Default)]
struct TimerShard {
    /// The queue of the first runtime that came, which is the only one in most programs.
    first: OnceLock<Arc<TimerQueue>>,
    others: Mutex<Vec<Arc<TimerQueue>>>,
}

impl TimerShard {
    fn queue(&self, runtime: Id) -> Arc<TimerQueue> {
        let first = self.first.get_or_init(|| TimerQueue::new(runtime));
        if first.runtime() == runtime {
            return Arc::clone(first);
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = others.iter().find(|queue| queue.runtime() == runtime) {
            return Arc::clone(queue);
        }
        let abandoned = others.extract_if(.., |queue| queue.len() == 0).collect::<Vec<_>>();
        let queue = TimerQueue::new(runtime);
        others.push(Arc::clone(&queue));
        drop(others);
        drop(abandoned);
        queue
    }

    fn pending(&self) -> usize {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.first.get().into_iter().chain(&others).map(|queue| queue.len()).sum()
    }
}

/// This thread's number.
fn shard() -> usize {
    SHARD.with(|shard| {
        if shard.get() == usize::MAX {
            shard.set(NEXT_SHARD.fetch_add(1, Ordering::Relaxed));
        }
        shard.get()
    })
}

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
}

static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

const SHARDS: usize = 8;
