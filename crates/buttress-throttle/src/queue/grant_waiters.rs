use std::{
    mem,
    sync::{Arc, Weak},
    task::{Context, Poll, Wake, Waker},
};

use buttress_control::Nanos;
use buttress_core::Timer;
use tokio::runtime::{Handle, Id};

use super::{
    CallQueue,
    alarms::{Claim, Where},
    priority_list::{WaitState, WaiterId},
    supply::Supply,
    wake_list::WakeList,
};
use crate::sync::lock;

impl<S: Supply> CallQueue<S, S::Grant> {
    /// Gives what there is to the waiters.
    #[cold]
    pub(crate) fn grant_waiters(self: &Arc<Self>) {
        // Permits need no timer, and under loom no runtime runs.
        let timed = S::TIMED && !cfg!(buttress_loom);
        let runtime = if timed { Handle::try_current().ok() } else { None };
        self.look(Where::Other(runtime.map(|runtime| runtime.id())));
    }

    /// Gives a permit or cells back that a call had taken.
    pub(crate) fn take_back(self: &Arc<Self>, grant: S::Grant) {
        let waiters = lock(&self.waiters);
        // Under the lock: a call that lines up meanwhile finds what is given back, or is found below.
        let waits = self.supply.give_back(self.now(), grant);
        drop(waiters);
        if waits {
            self.grant_waiters();
        }
    }

    /// Ready when the wait is over; otherwise `waker` is the one to be woken.
    pub(crate) fn poll(self: &Arc<Self>, id: WaiterId, waker: &Waker) -> Poll<()> {
        let mut home = None;
        if S::TIMED && !lock(&self.waiters).is_over(id) {
            if cfg!(buttress_loom) {
                self.grant_waiters();
            } else {
                // A call that waits must be polled within a runtime, as tokio's timers must.
                let runtime = Handle::current().id();
                self.look(Where::Poll(runtime));
                home = Some(runtime);
            }
        }
        if let Some(seen) = lock(&self.waiters).look(id, waker) {
            return seen;
        }
        let waker = waker.clone();
        let mut waiters = lock(&self.waiters);
        let former = waiters.watch(id, waker);
        let over = waiters.is_over(id);
        // InnerReport after the look, when this call had left no waker.
        let told = home.filter(|runtime| waiters.alarms.is_told(*runtime));
        drop(waiters);
        // After the lock. If the wait is over meanwhile, this is the new one.
        drop(former);
        if let Some(runtime) = told {
            self.look(Where::Poll(runtime));
        }
        if over { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Gives a place up, and says what had become of it.
    pub(crate) fn leave(self: &Arc<Self>, id: WaiterId) -> Option<WaitState<S::Grant>> {
        let mut waiters = lock(&self.waiters);
        let state = waiters.remove(id);
        self.clear_waiting_if_empty(&mut waiters, self.now());
        let alarms = waiters.is_empty().then(|| mem::take(&mut waiters.alarms));
        drop(waiters);
        if S::TIMED && alarms.is_none() && matches!(state, Some(WaitState::Waiting(_))) {
            // The next may wait for less than the one that leaves.
            self.grant_waiters();
        }
        state
    }

    /// Gives what there is to the waiters, and sets a timer for what comes next.
    fn look(self: &Arc<Self>, place: Where) {
        let mut wake_list = WakeList::default();
        loop {
            let now = self.now();
            let mut waiters = lock(&self.waiters);
            let due = self.settle(&mut waiters, now, &mut wake_list);
            self.clear_waiting_if_empty(&mut waiters, now);
            if !S::TIMED || cfg!(buttress_loom) {
                return;
            }
            if waiters.is_empty() {
                let alarms = mem::take(&mut waiters.alarms);
                drop(waiters);
                drop(alarms);
                return;
            }
            let Claim { set, late_elsewhere, dropped } = waiters.alarms.claim(due, place, now);
            if late_elsewhere {
                // Their own polls set a timer where they run.
                waiters.rouse(&mut wake_list);
            }
            drop(waiters);
            drop(dropped);
            if !set.is_some_and(|(runtime, due)| self.set_alarm(runtime, due).is_ready()) {
                return;
            }
        }
    }

    /// Sets the timer that was claimed. Ready if its time has come meanwhile.
    // Without the lock: a queue of timers wakes other calls.
    fn set_alarm(self: &Arc<Self>, runtime: Id, due: Nanos) -> Poll<()> {
        let waker = self.alarm.get_or_init(|| Alarm::waker(self));
        let (deadline, mut timer) = (self.clock.deadline(due), Timer::new());
        let mut cx = Context::from_waker(waker);
        if timer.poll(&mut cx, deadline, &self.timers.alarms).is_ready() {
            return Poll::Ready(());
        }
        let superseded = lock(&self.waiters).alarms.keep(runtime, due, timer);
        // After the lock, as the timer was made.
        drop(superseded);
        Poll::Pending
    }
}

/// Wakes a line.
// Weak, because the queue owns its timers, and they own this.
struct Alarm<S: Supply>(Weak<CallQueue<S, S::Grant>>);

impl<S: Supply> Alarm<S> {
    fn waker(queue: &Arc<CallQueue<S, S::Grant>>) -> Waker {
        Waker::from(Arc::new(Self(Arc::downgrade(queue))))
    }
}

impl<S: Supply> Wake for Alarm<S> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(queue) = self.0.upgrade() {
            queue.grant_waiters();
        }
    }
}
