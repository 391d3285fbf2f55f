use std::{
    mem,
    sync::{Arc, Weak},
    task::{Wake, Waker},
};

use buttress_control::Nanos;
use buttress_core::Timer;
use tokio::runtime::Id;

use crate::{queue::Queue, supply::Supply};

/// The timers that wake a line when there is something for its first waiter: one for each runtime that
/// a waiter was polled in, nearly always one.
///
/// A timer wakes the line and not a waiter, so no call depends on another one being polled. A runtime
/// that stands still or ends takes its timer with it; the waiters of other runtimes have theirs.
///
/// It is under the lock of the line, so that a timer is dropped only for what the line is now. Timers are
/// set and dropped without that lock.
#[derive(Debug, Default)]
pub(crate) struct Alarms(Vec<Armed>);

#[derive(Debug)]
struct Armed {
    runtime: Id,
    at: Nanos,
    /// `None` while it is being set.
    timer: Option<Timer>,
}

/// What is to be done for an alarm.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    /// The timer to set.
    pub(crate) set: Option<(Id, Nanos)>,
    /// Waiters in other runtimes have no timer that is early enough.
    pub(crate) late_elsewhere: bool,
    /// Timers to drop.
    pub(crate) dropped: Alarms,
}

impl Alarms {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Sees to it that a timer rings when `due`, set in the runtime `here`.
    pub(crate) fn claim(&mut self, due: Option<Nanos>, here: Option<Id>, now: Nanos) -> Claim {
        let Some(due) = due else {
            return Claim { dropped: mem::take(self), ..Claim::default() };
        };
        // Those of other runtimes are left alone: when they ring, they are set again there.
        let own = |one: &Armed| Some(one.runtime) == here;
        let is_useless = |one: &mut Armed| own(one) && (one.at <= now || one.at > due);
        let dropped = Self(self.0.extract_if(.., is_useless).collect());
        let nowhere = here.is_none() && self.0.is_empty();
        let late_elsewhere = nowhere || self.0.iter().any(|one| one.at > due);
        let set = here.filter(|_| !self.0.iter().any(own)).map(|runtime| (runtime, due));
        let armed = set.map(|(runtime, at)| Armed { runtime, at, timer: None });
        self.0.extend(armed);
        Claim { set, late_elsewhere, dropped }
    }

    /// Keeps a timer that was claimed, or gives it back if another claim came since.
    pub(crate) fn keep(&mut self, runtime: Id, at: Nanos, timer: Timer) -> Option<Timer> {
        match self.0.iter_mut().find(|one| one.runtime == runtime && one.at == at) {
            Some(one) => one.timer.replace(timer),
            None => Some(timer),
        }
    }
}

/// Wakes a line.
// Weak, because the queue owns its timers, and they own this.
pub(crate) struct Alarm<S: Supply>(Weak<Queue<S, S::Grant>>);

impl<S: Supply> Alarm<S> {
    pub(crate) fn waker(queue: &Arc<Queue<S, S::Grant>>) -> Waker {
        Waker::from(Arc::new(Self(Arc::downgrade(queue))))
    }
}

impl<S: Supply> Wake for Alarm<S> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(queue) = self.0.upgrade() {
            queue.hand_over();
        }
    }
}
