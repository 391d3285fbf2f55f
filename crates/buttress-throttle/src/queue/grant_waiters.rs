//! Looks at a line: by whom, and when the next one is due.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use buttress_control::Nanos;
use buttress_core::Timer;
use tokio::runtime::{Handle, Id};

use super::{
    CallQueue,
    alarms::{Alarm, Claim, Where},
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

    /// Gives what there is to the waiters, and sets a timer for what comes next.
    pub(crate) fn look(self: &Arc<Self>, place: Where) {
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
