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
use buttress_state::sync::lock;

impl<S: Supply> CallQueue<S, S::Grant> {
    /// Grants the waiters the available permits or cells.
    #[cold]
    pub(crate) fn grant_waiters(self: &Arc<Self>) {
        // Permits need no timer, and under loom there is no runtime.
        let timed = S::TIMED && !cfg!(buttress_loom);
        let runtime = if timed { Handle::try_current().ok() } else { None };
        self.look(Where::Other(runtime.map(|runtime| runtime.id())));
    }

    /// Returns a grant that its call did not use.
    pub(crate) fn take_back(self: &Arc<Self>, grant: S::Grant) {
        let waiters = lock(&self.waiters);
        // Must run under the lock. A call that enqueues meanwhile finds the returned grant under
        // the same lock, or has set the waiting flag, and `grant_waiters` below finds the call.
        let waits = self.supply.give_back(self.now(), grant);
        drop(waiters);
        if waits {
            self.grant_waiters();
        }
    }

    /// Ready when the wait is over. Otherwise `waker` will be woken.
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
        // The waker is cloned outside the lock, because cloning a waker is foreign code.
        if let Some(seen) = lock(&self.waiters).look(id, waker) {
            return seen;
        }
        let waker = waker.clone();
        let mut waiters = lock(&self.waiters);
        let former = waiters.watch(id, waker);
        let over = waiters.is_over(id);
        // `look` may have asked the waiters of this runtime for an earlier timer when this call had
        // no waker there yet. Check again, under the lock that now holds the waker.
        let told = home.filter(|runtime| waiters.alarms.is_told(*runtime));
        drop(waiters);
        // After the lock, because the drop is foreign code. If the wait is over by now, this is the
        // new waker, which is not needed.
        drop(former);
        if let Some(runtime) = told {
            self.look(Where::Poll(runtime));
        }
        if over { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Leaves the queue, and returns the state of the wait.
    pub(crate) fn leave(self: &Arc<Self>, id: WaiterId) -> Option<WaitState<S::Grant>> {
        let mut waiters = lock(&self.waiters);
        // Under the lock a wait ends once: a grant by `settle` came before and is in `state`, or
        // comes too late to find this waiter.
        let state = waiters.remove(id);
        self.clear_waiting_if_empty(&mut waiters, self.now());
        let alarms = waiters.is_empty().then(|| mem::take(&mut waiters.alarms));
        // Timers are dropped after the lock: `alarms` lives until the end of the function.
        drop(waiters);
        if S::TIMED && alarms.is_none() && matches!(state, Some(WaitState::Waiting(_))) {
            // The next waiter may need fewer cells than the waiter that leaves.
            self.grant_waiters();
        }
        state
    }

    /// Grants the waiters the available permits or cells, and sets a timer for the next grant.
    fn look(self: &Arc<Self>, place: Where) {
        // Declared before the lock, so that the wakers are woken after it on each way out.
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
                // Dropped after the lock: the drop of a timer may wake other calls.
                let alarms = mem::take(&mut waiters.alarms);
                drop(waiters);
                drop(alarms);
                return;
            }
            let Claim { set, late_elsewhere, dropped } = waiters.alarms.claim(due, place, now);
            let is_home = waiters.alarms.is_home(place);
            if late_elsewhere {
                // The waiters in other runtimes set a timer there when they are polled.
                waiters.rouse(&mut wake_list);
            }
            drop(waiters);
            drop(dropped);
            // If `due` has passed while the timer was set, no timer will fire for it. Look again.
            if set.is_some_and(|(runtime, due)| self.set_alarm(runtime, due).is_ready()) {
                continue;
            }
            // Elsewhere the waiters do so when they are polled: another runtime may end.
            if is_home {
                S::restock(self);
            }
            return;
        }
    }

    /// Sets the claimed timer. Ready if its time has come meanwhile.
    // Must run without the lock of `waiters`: polling a timer may wake other calls.
    fn set_alarm(self: &Arc<Self>, runtime: Id, due: Nanos) -> Poll<()> {
        let waker = self.alarm.get_or_init(|| Alarm::waker(self));
        let (deadline, mut timer) = (self.clock.deadline(due), Timer::new());
        let mut cx = Context::from_waker(waker);
        if timer.poll(&mut cx, deadline, &self.timers.alarms).is_ready() {
            return Poll::Ready(());
        }
        let superseded = lock(&self.waiters).alarms.keep(runtime, due, timer);
        // A later claim came first. The timer is dropped without the lock, as it was set.
        drop(superseded);
        Poll::Pending
    }
}

/// The waker of a queue.
// Weak, because the queue owns its timers and a timer owns this waker. A strong reference would
// leak both.
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
