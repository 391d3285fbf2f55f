use std::{
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use tokio::{
    runtime::Id,
    task::coop::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

use super::deadline_list::{DeadlineList, TimerSlot};
use crate::{Deadline, wake::catch};

/// Calls in the order of their deadlines, and one timer of the runtime for the first of them.
///
/// The timer is left alone when a call ends: it fires once at what was the earliest deadline and
/// then moves on to the earliest that is left. So a call that ends in time costs an insertion and a
/// removal. The timer wakes the queue, not a task, so nobody's deadline depends on another call
/// being polled.
#[derive(Debug)]
pub(crate) struct TimerQueue {
    runtime: Id,
    alarm: Waker,
    /// The timer fired and nobody has looked yet.
    fired: AtomicBool,
    state: Mutex<TimerQueueState>,
}

#[derive(Debug, Default)]
struct TimerQueueState {
    deadlines: DeadlineList,
    /// When the timer fires, if it is going to.
    armed: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl TimerQueue {
    pub(crate) fn new(runtime: Id) -> Arc<Self> {
        Arc::new_cyclic(|queue| Self {
            runtime,
            alarm: Waker::from(Arc::new(TimerAlarm { queue: Weak::clone(queue) })),
            fired: AtomicBool::new(false),
            state: Mutex::default(),
        })
    }

    pub(crate) const fn runtime(&self) -> Id {
        self.runtime
    }

    pub(crate) fn len(&self) -> usize {
        self.enter(|state, _| state.deadlines.len())
    }

    /// Lines up, and says whether the deadline has passed; `None` if it is far out of order.
    pub(crate) fn join(
        self: Arc<Self>,
        waker: &Waker,
        deadline: Deadline,
    ) -> Option<(QueuedTimer, Poll<()>)> {
        let waker = waker.clone();
        let joined = self.enter(|state, due| {
            let slot = state.deadlines.insert(deadline.instant(), waker)?;
            state.arm(&self.alarm, due);
            Ok((slot, if state.deadlines.is_due(slot) { Poll::Ready(()) } else { Poll::Pending }))
        });
        // A waker that found no place is dropped here, after the lock.
        let (slot, passed) = joined.map_err(drop::<Waker>).ok()?;
        Some((QueuedTimer { queue: self, slot }, passed))
    }

    /// Runs `f` under the lock, and wakes afterwards, without it, whom `f` found due.
    fn enter<R>(&self, f: impl FnOnce(&mut TimerQueueState, &mut Vec<Waker>) -> R) -> R {
        let mut due = Vec::new();
        let result = f(&mut self.lock(), &mut due);
        if !due.is_empty() {
            wake_each(due);
        }
        // The timer may fire while the lock is held, even from within `f`.
        if self.fired.load(Ordering::SeqCst) {
            self.wake_due();
        }
        result
    }

    /// Wakes the calls whose deadline has passed and arms the timer for the next.
    fn wake_due(&self) {
        while self.fired.load(Ordering::SeqCst) {
            let mut state = match self.state.try_lock() {
                Ok(state) => state,
                Err(TryLockError::Poisoned(state)) => state.into_inner(),
                // Whoever holds the lock looks at `fired` after letting go of it.
                Err(TryLockError::WouldBlock) => return,
            };
            self.fired.store(false, Ordering::SeqCst);
            let mut due = Vec::new();
            state.on_fire(&self.alarm, &mut due);
            drop(state);
            wake_each(due);
        }
    }

    fn lock(&self) -> MutexGuard<'_, TimerQueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TimerQueueState {
    fn on_fire(&mut self, alarm: &Waker, due: &mut Vec<Waker>) {
        let now = Instant::now();
        // Before its time the firing is one that somebody has dealt with, or that of a runtime that
        // shuts down. There is nothing to arm then.
        if self.armed.is_some_and(|armed| armed <= now) {
            self.armed = None;
            self.deadlines.expire(now, due);
            self.arm(alarm, due);
        }
    }

    /// Sees to it that the timer fires at the earliest deadline, or before.
    fn arm(&mut self, alarm: &Waker, due: &mut Vec<Waker>) {
        while let Some(earliest) = self.deadlines.earliest() {
            if self.armed.is_some_and(|armed| armed <= earliest) {
                return;
            }
            let sleep = match &mut self.sleep {
                Some(sleep) => {
                    sleep.as_mut().reset(earliest);
                    // A timer of a runtime that has shut down has elapsed whatever its time, and
                    // panics when it is polled.
                    if sleep.is_elapsed() && earliest > Instant::now() {
                        self.armed = Some(earliest);
                        return;
                    }
                    sleep
                }
                None => self.sleep.insert(Box::pin(sleep_until(earliest))),
            };
            self.armed = Some(earliest);
            let mut cx = Context::from_waker(alarm);
            if pin!(unconstrained(sleep.as_mut())).poll(&mut cx).is_pending() {
                return;
            }
            self.armed = None;
            self.deadlines.expire(Instant::now().max(earliest), due);
        }
    }
}

/// A call's place in a queue, given up when dropped.
#[derive(Debug)]
pub(crate) struct QueuedTimer {
    queue: Arc<TimerQueue>,
    slot: TimerSlot,
}

impl QueuedTimer {
    /// Ready once the deadline has passed.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        let watched = self.queue.enter(|state, _| state.deadlines.watch(self.slot, cx.waker()));
        match watched {
            Some(true) => Poll::Pending,
            None => Poll::Ready(()),
            Some(false) => {
                let waker = cx.waker().clone();
                let former = self.queue.enter(|state, _| state.deadlines.rewatch(self.slot, waker));
                // Whichever waker is not kept is dropped here, after the lock.
                former.map_or(Poll::Ready(()), |_| Poll::Pending)
            }
        }
    }
}

impl Drop for QueuedTimer {
    fn drop(&mut self) {
        // The timer stays as it is, so this wakes nobody.
        let waker = self.queue.enter(|state, _| state.deadlines.remove(self.slot));
        drop(waker);
    }
}

/// Wakes each call, even if the waker of another one panics.
///
/// Such a panic ends here: it is neither the fault of the call that entered the queue, nor may it reach
/// the runtime, which would drop the other wakers that it is about to wake.
#[cold]
fn wake_each(due: Vec<Waker>) {
    for waker in due {
        drop(catch(|| waker.wake()));
    }
}

#[derive(Debug)]
struct TimerAlarm {
    // Weak, for the queue's timer holds the alarm.
    queue: Weak<TimerQueue>,
}

impl Wake for TimerAlarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(queue) = self.queue.upgrade() {
            queue.fired.store(true, Ordering::SeqCst);
            queue.wake_due();
        }
    }
}
