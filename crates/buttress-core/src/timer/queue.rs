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

use super::deadline_list::{Order, Slot};
use crate::{Deadline, wake::catch};

/// Calls in the order of their deadlines, and one timer of the runtime for the first of them.
///
/// The timer is left alone when a call ends: it fires once at what was the earliest deadline and
/// then moves on to the earliest that is left. So a call that ends in time costs an insertion and a
/// removal. The timer wakes the queue, not a task, so nobody's deadline depends on another call
/// being polled.
#[derive(Debug)]
pub(crate) struct Queue {
    runtime: Id,
    alarm: Waker,
    /// The timer fired and nobody has looked yet.
    rung: AtomicBool,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    order: Order,
    /// When the timer fires, if it is going to.
    armed: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Queue {
    pub(crate) fn new(runtime: Id) -> Arc<Self> {
        Arc::new_cyclic(|queue| Self {
            runtime,
            alarm: Waker::from(Arc::new(Alarm { queue: Weak::clone(queue) })),
            rung: AtomicBool::new(false),
            line: Mutex::default(),
        })
    }

    pub(crate) const fn runtime(&self) -> Id {
        self.runtime
    }

    pub(crate) fn len(&self) -> usize {
        self.enter(|line, _| line.order.len())
    }

    /// Lines up, and says whether the deadline has passed; `None` if it is far out of order.
    pub(crate) fn join(
        self: Arc<Self>,
        waker: &Waker,
        deadline: Deadline,
    ) -> Option<(Ticket, Poll<()>)> {
        let waker = waker.clone();
        let joined = self.enter(|line, due| {
            let slot = line.order.insert(deadline.instant(), waker)?;
            line.arm(&self.alarm, due);
            Ok((slot, if line.order.is_due(slot) { Poll::Ready(()) } else { Poll::Pending }))
        });
        // A waker that found no place is dropped here, after the lock.
        let (slot, passed) = joined.map_err(drop::<Waker>).ok()?;
        Some((Ticket { queue: self, slot }, passed))
    }

    /// Runs `f` under the lock, and wakes afterwards, without it, whom `f` found due.
    fn enter<R>(&self, f: impl FnOnce(&mut Line, &mut Vec<Waker>) -> R) -> R {
        let mut due = Vec::new();
        let result = f(&mut self.lock(), &mut due);
        if !due.is_empty() {
            wake_due(due);
        }
        // The runtime may ring while the lock is held, even from within `f`.
        if self.rung.load(Ordering::SeqCst) {
            self.answer();
        }
        result
    }

    /// Wakes the calls whose deadline has passed and arms the timer for the next.
    fn answer(&self) {
        while self.rung.load(Ordering::SeqCst) {
            let mut line = match self.line.try_lock() {
                Ok(line) => line,
                Err(TryLockError::Poisoned(line)) => line.into_inner(),
                // Whoever holds the lock looks at `rung` after letting go of it.
                Err(TryLockError::WouldBlock) => return,
            };
            self.rung.store(false, Ordering::SeqCst);
            let mut due = Vec::new();
            line.ring(&self.alarm, &mut due);
            drop(line);
            wake_due(due);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn ring(&mut self, alarm: &Waker, due: &mut Vec<Waker>) {
        let now = Instant::now();
        // Before its time the ring is one that somebody has dealt with, or that of a runtime that
        // shuts down. There is nothing to arm then.
        if self.armed.is_some_and(|armed| armed <= now) {
            self.armed = None;
            self.order.expire(now, due);
            self.arm(alarm, due);
        }
    }

    /// Sees to it that the timer fires at the earliest deadline, or before.
    fn arm(&mut self, alarm: &Waker, due: &mut Vec<Waker>) {
        while let Some(earliest) = self.order.earliest() {
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
            self.order.expire(Instant::now().max(earliest), due);
        }
    }
}

/// A call's place in a queue, given up when dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    queue: Arc<Queue>,
    slot: Slot,
}

impl Ticket {
    /// Ready once the deadline has passed.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        let watched = self.queue.enter(|line, _| line.order.watch(self.slot, cx.waker()));
        match watched {
            Some(true) => Poll::Pending,
            None => Poll::Ready(()),
            Some(false) => {
                let waker = cx.waker().clone();
                let former = self.queue.enter(|line, _| line.order.rewatch(self.slot, waker));
                // Whichever waker is not kept is dropped here, after the lock.
                former.map_or(Poll::Ready(()), |_| Poll::Pending)
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // The timer stays as it is, so this wakes nobody.
        let waker = self.queue.enter(|line, _| line.order.remove(self.slot));
        drop(waker);
    }
}

/// Wakes each call, even if the waker of another one panics.
///
/// Such a panic ends here: it is neither the fault of the call that entered the queue, nor may it reach
/// the runtime, which would drop the other wakers that it is about to wake.
#[cold]
fn wake_due(due: Vec<Waker>) {
    for waker in due {
        drop(catch(|| waker.wake()));
    }
}

#[derive(Debug)]
struct Alarm {
    // Weak, for the queue's timer holds the alarm.
    queue: Weak<Queue>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(queue) = self.queue.upgrade() {
            queue.rung.store(true, Ordering::SeqCst);
            queue.answer();
        }
    }
}
