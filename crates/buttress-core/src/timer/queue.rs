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

/// Calls in the order of their deadlines, with a timer of the runtime for the earliest.
///
/// The timer is not reset when a call ends. The timer fires once at the former earliest deadline,
/// and is then set for the earliest that is left. So a call that ends in time costs an insertion
/// and a removal. The timer wakes the queue and not a task, so the deadline of a call does not
/// depend on another call being polled.
#[derive(Debug)]
pub(crate) struct TimerQueue {
    runtime: Id,
    alarm: Waker,
    /// The timer has fired, and [`wake_due`](Self::wake_due) has not looked at the deadlines since.
    fired: AtomicBool,
    // Not re-entered: the runtime's timer may call the alarm while the lock is held, so the alarm
    // sets `fired` and only tries the lock.
    state: Mutex<TimerQueueState>,
}

#[derive(Debug, Default)]
struct TimerQueueState {
    deadlines: DeadlineList,
    /// The instant for which the timer is set, if any.
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
        self.enter(|state| state.deadlines.len())
    }

    /// Inserts a call, and returns whether its deadline has passed. `None` if the deadline is far
    /// out of order.
    pub(crate) fn join(
        self: Arc<Self>,
        waker: &Waker,
        deadline: Deadline,
    ) -> Option<(QueuedTimer, Poll<()>)> {
        let waker = waker.clone();
        let inserted = self.enter(|state| {
            let slot = state.deadlines.insert(deadline.instant(), waker)?;
            Ok((slot, state.is_armed_by(deadline.instant())))
        });
        // A waker that was not inserted is dropped here, after the lock.
        let (slot, is_armed) = inserted.map_err(drop::<Waker>).ok()?;
        let queued = QueuedTimer { queue: self, slot };
        let passed = if is_armed { Poll::Pending } else { queued.queue.arm(slot) };
        Some((queued, passed))
    }

    /// Sets the timer for the call in `slot`, which may be the earliest. Ready if its deadline has
    /// passed.
    #[cold]
    fn arm(&self, slot: TimerSlot) -> Poll<()> {
        let mut due = Vec::new();
        let passed = self.enter(|state| {
            state.arm(&self.alarm, &mut due);
            if state.deadlines.is_due(slot) { Poll::Ready(()) } else { Poll::Pending }
        });
        wake_each(due);
        passed
    }

    /// Runs `f` under the lock, and afterwards wakes the tasks that are due if the timer has fired.
    #[inline]
    fn enter<R>(&self, f: impl FnOnce(&mut TimerQueueState) -> R) -> R {
        let result = f(&mut self.lock());
        // The timer may have fired while the lock was held, even from within `f`. `wake_due` then
        // found the lock taken and returned, so this thread takes over.
        //
        // SeqCst pairs with `TimerAlarm::wake_by_ref`: the alarm stores `fired` and then tries the
        // lock, while this thread unlocks and then loads `fired`. At least one of the two sees the
        // other.
        if self.fired.load(Ordering::SeqCst) {
            self.wake_due();
        }
        result
    }

    /// Wakes the calls whose deadlines have passed, and sets the timer for the next.
    #[cold]
    fn wake_due(&self) {
        while self.fired.load(Ordering::SeqCst) {
            let mut state = match self.state.try_lock() {
                Ok(state) => state,
                Err(TryLockError::Poisoned(state)) => state.into_inner(),
                // The holder of the lock looks at `fired` after unlocking, see `enter`.
                Err(TryLockError::WouldBlock) => return,
            };
            // Cleared under the lock and before the deadlines are read: a timer that fires from
            // here on sets the flag again, and the loop looks once more.
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
    /// Whether the timer fires at `deadline` or before.
    #[inline]
    fn is_armed_by(&self, deadline: Instant) -> bool {
        self.armed.is_some_and(|armed| armed <= deadline)
    }

    fn on_fire(&mut self, alarm: &Waker, due: &mut Vec<Waker>) {
        let now = Instant::now();
        // An early wake-up was dealt with already, or comes from a runtime that shuts down. There
        // is nothing to set then.
        if self.armed.is_some_and(|armed| armed <= now) {
            self.armed = None;
            self.deadlines.expire(now, due);
            self.arm(alarm, due);
        }
    }

    /// Sets the timer to fire at the earliest deadline or before.
    fn arm(&mut self, alarm: &Waker, due: &mut Vec<Waker>) {
        while let Some(earliest) = self.deadlines.earliest() {
            if self.armed.is_some_and(|armed| armed <= earliest) {
                return;
            }
            let sleep = match &mut self.sleep {
                Some(sleep) => {
                    sleep.as_mut().reset(earliest);
                    // The runtime has shut down: its timers count as elapsed, and polling them
                    // panics.
                    if sleep.is_elapsed() && earliest > Instant::now() {
                        self.armed = Some(earliest);
                        return;
                    }
                    sleep
                }
                // Boxed once for each queue: a sleep must not move, and the state lies under a lock.
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

/// The place of a call in a queue. Dropping the place removes the call.
#[derive(Debug)]
pub(crate) struct QueuedTimer {
    queue: Arc<TimerQueue>,
    slot: TimerSlot,
}

impl QueuedTimer {
    /// Ready once the deadline has passed.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        let watched = self.queue.enter(|state| state.deadlines.watch(self.slot, cx.waker()));
        match watched {
            Some(true) => Poll::Pending,
            None => Poll::Ready(()),
            Some(false) => {
                let waker = cx.waker().clone();
                let former = self.queue.enter(|state| state.deadlines.rewatch(self.slot, waker));
                // The waker that is not stored is dropped here, after the lock.
                former.map_or(Poll::Ready(()), |_| Poll::Pending)
            }
        }
    }
}

impl Drop for QueuedTimer {
    fn drop(&mut self) {
        // The timer stays set, so no task is woken. The waker is dropped after the lock.
        let waker = self.queue.enter(|state| state.deadlines.remove(self.slot));
        drop(waker);
    }
}

/// Wakes each task, even if another waker panics.
///
/// Such a panic ends here, because it is not the fault of the call that entered the queue. In the
/// runtime the panic would drop the other wakers that are about to be woken.
#[cold]
fn wake_each(due: Vec<Waker>) {
    for waker in due {
        drop(catch(|| waker.wake()));
    }
}

#[derive(Debug)]
struct TimerAlarm {
    // Weak, because the queue owns the timer and the timer owns this waker. A strong reference
    // would leak both.
    queue: Weak<TimerQueue>,
}

impl Wake for TimerAlarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(queue) = self.queue.upgrade() {
            // Before `wake_due` tries the lock: if another thread holds the lock, that thread loads
            // `fired` after unlocking.
            queue.fired.store(true, Ordering::SeqCst);
            queue.wake_due();
        }
    }
}
