use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Wake, Waker},
    time::Duration,
};

use tokio::{
    runtime::{Handle, Id},
    task::coop::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

use super::{MemberId, sync::this_thread};
use crate::wake::catch;

/// What a relay is a part of, where the relay's timer finds it.
pub trait WatchdogHost: Send + Sync + 'static {
    /// [Rouses](super::Relay::wake_if_stalled) the members of the relay.
    fn on_watchdog(&self);
}

/// The timer that rouses all members of a relay if those that were woken do not take the work up.
///
/// It is set when some members are woken and others are not, and then left alone: it fires once, and is
/// set again only if there is still somebody to be roused. So it costs no more than one timer in
/// [`PATIENCE`], however often the work rings.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    /// [Rouses](super::Relay::wake_if_stalled). `None` while the relay has never had three members.
    alarm: Option<Waker>,
    /// The thread on which a member registered last.
    thread: usize,
    /// The runtime where a member registered first, and those where others did. A timer fires only while
    /// its runtime runs, so there is one for each.
    runtime: Option<Handle>,
    others: Vec<Handle>,
    /// When some members were woken, and others were not.
    since: Option<Instant>,
    armed: Armed,
    // Never dropped under the relay's lock: to drop a timer is to lock its runtime's.
    timers: Vec<Pin<Box<Sleep>>>,
}

/// Whether the timers run.
#[derive(Clone, Copy, Debug, Default)]
enum Armed {
    #[default]
    No,
    /// They are being set, outside of the relay's lock.
    Setting {
        /// One has fired already.
        fired: bool,
    },
    Yes,
}

/// Timers to be set with no lock held. In a box, for there hardly ever are any.
pub(super) struct Arming {
    alarm: Waker,
    runtimes: Vec<Handle>,
    deadline: Instant,
    /// Those that have fired, to be dropped.
    old: Vec<Pin<Box<Sleep>>>,
}

impl Watchdog {
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.alarm.is_some()
    }

    /// Sets the alarm, or gives it back if there is one.
    pub(super) fn turn_on(&mut self, alarm: Waker) -> Option<Waker> {
        if self.is_on() {
            return Some(alarm);
        }
        self.alarm = Some(alarm);
        None
    }

    /// Notes where the member at `place` registers. A thread is compared at less cost than a runtime, so in
    /// a crowd a thread counts for the one it ran last.
    #[inline]
    pub(super) fn note(&mut self, place: MemberId) {
        let thread = this_thread();
        if self.thread != thread || place.is_early() {
            self.thread = thread;
            self.note_runtime();
        }
    }

    #[cold]
    fn note_runtime(&mut self) {
        let Ok(runtime) = Handle::try_current() else { return };
        match &self.runtime {
            None => self.runtime = Some(runtime),
            Some(first) if first.id() == runtime.id() => {}
            Some(_) if self.others.iter().any(|other| other.id() == runtime.id()) => {}
            Some(_) => {
                self.others.push(runtime);
                // The timers that run may be those of a runtime that does not.
                if matches!(self.armed, Armed::Yes) {
                    self.armed = Armed::No;
                }
            }
        }
    }

    /// Some were woken. What is to be armed if `others` were not.
    #[inline]
    pub(super) fn start(&mut self, others: bool) -> Option<Box<Arming>> {
        if self.is_on() { self.start_for(others) } else { None }
    }

    fn start_for(&mut self, others: bool) -> Option<Box<Arming>> {
        if !others {
            self.since = None;
            return None;
        }
        let now = Instant::now();
        self.since = Some(now);
        self.arm(now)
    }

    /// A timer has fired. Whether all are to be woken, or what is to be armed.
    pub(super) fn fire(&mut self, is_woken: bool) -> Result<(), Option<Box<Arming>>> {
        self.armed = match self.armed {
            Armed::Setting { .. } => Armed::Setting { fired: true },
            Armed::No | Armed::Yes => Armed::No,
        };
        let Some(since) = self.since.filter(|_| is_woken) else { return Err(None) };
        if !is_due(since) {
            return Err(self.arm(since));
        }
        self.since = None;
        Ok(())
    }

    /// Timers that were to be set run. Whether one has fired already.
    pub(super) fn armed(&mut self, timers: Vec<Pin<Box<Sleep>>>) -> bool {
        let fired = matches!(self.armed, Armed::Setting { fired: true });
        self.armed = if fired || timers.is_empty() { Armed::No } else { Armed::Yes };
        // What was there has been taken out to be dropped.
        self.timers = timers;
        fired
    }

    fn arm(&mut self, since: Instant) -> Option<Box<Arming>> {
        if !matches!(self.armed, Armed::No) {
            return None;
        }
        let runtimes: Vec<_> =
            self.runtime.iter().chain(&self.others).filter(|runtime| has_time(runtime)).collect();
        let (alarm, deadline) = (self.alarm.as_ref()?.clone(), since.checked_add(PATIENCE)?);
        if runtimes.is_empty() {
            return None;
        }
        let runtimes = runtimes.into_iter().cloned().collect();
        self.armed = Armed::Setting { fired: false };
        let old = std::mem::take(&mut self.timers);
        Some(Box::new(Arming { alarm, runtimes, deadline, old }))
    }
}

impl Arming {
    /// Sets the timers.
    pub(super) fn set(self) -> Vec<Pin<Box<Sleep>>> {
        let Self { alarm, runtimes, deadline, old } = self;
        drop(old);
        runtimes.iter().filter_map(|runtime| set(runtime, deadline, &alarm)).collect()
    }
}

/// A timer of `runtime`. `None` if that has no time driver, or has shut down: then tokio panics.
fn set(runtime: &Handle, deadline: Instant, alarm: &Waker) -> Option<Pin<Box<Sleep>>> {
    let set = || {
        let _entered = runtime.enter();
        let mut sleep = Box::pin(sleep_until(deadline));
        if pin!(unconstrained(sleep.as_mut())).poll(&mut Context::from_waker(alarm)).is_ready() {
            alarm.wake_by_ref();
        }
        sleep
    };
    let set = catch_unwind(AssertUnwindSafe(set)).ok();
    if set.is_none() {
        without_time().push(runtime.id());
    }
    set
}

/// Rouses the members of a relay.
// Weak, because the relay's timers hold it: a strong reference would leak both.
struct RelayAlarm<H>(Weak<H>);

impl<H: WatchdogHost> Wake for RelayAlarm<H> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let rouse = || {
            if let Some(host) = self.0.upgrade() {
                host.on_watchdog();
            }
        };
        // A member's waker may panic. The panic ends here: the timer is nobody's call, and in tokio's
        // driver a panic would drop the wakers that are about to be woken.
        drop(catch(rouse));
    }
}

pub(super) fn alarm<H: WatchdogHost>(host: &Arc<H>) -> Waker {
    Waker::from(Arc::new(RelayAlarm(Arc::downgrade(host))))
}

fn has_time(runtime: &Handle) -> bool {
    !without_time().contains(&runtime.id())
}

/// The lock is held for a look or a push, under a relay's lock or none.
fn without_time() -> MutexGuard<'static, Vec<Id>> {
    WITHOUT_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether those that were woken at `since` have had their time.
fn is_due(since: Instant) -> bool {
    // loom knows no time: any moment may be that one.
    cfg!(buttress_loom) || since.elapsed() >= PATIENCE
}

/// Runtimes whose timers cannot be used. Each is tried once, because a panic is reported each time.
static WITHOUT_TIME: Mutex<Vec<Id>> = Mutex::new(Vec::new());

/// How long those that were woken have to take the work up before all others are woken too.
const PATIENCE: Duration = Duration::from_millis(10);
