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

/// The owner of a [`Relay`](super::Relay), as its watchdog sees it.
pub trait WatchdogHost: Send + Sync + 'static {
    /// Called when the watchdog's timer fires. Call
    /// [`Relay::wake_if_stalled`](super::Relay::wake_if_stalled).
    fn on_watchdog(&self);
}

/// The timer that wakes all members of a relay if the driver and the deputy do not take up the
/// work.
///
/// Set when some members are woken and others are not, and not reset after that. The timer fires
/// once, and is set again only if members are still waiting for the work to be taken up. So it
/// costs at most one timer per [`PATIENCE`], however often the work is woken.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    /// Calls [`WatchdogHost::on_watchdog`]. `None` while the relay has never had three members.
    alarm: Option<Waker>,
    /// The thread on which a member registered last.
    thread: usize,
    /// The runtime on which a member registered first, and below those of the others. A timer fires
    /// only while its runtime runs, so each runtime needs its own.
    runtime: Option<Handle>,
    others: Vec<Handle>,
    /// When some members were woken and others were not.
    since: Option<Instant>,
    armed: Armed,
    // Never dropped under the relay's lock, because dropping a timer takes the lock of its
    // runtime's time driver.
    timers: Vec<Pin<Box<Sleep>>>,
}

/// Whether the timers run.
#[derive(Clone, Copy, Debug, Default)]
enum Armed {
    #[default]
    No,
    /// `Relay::arm` is setting the timers, with no lock held.
    Setting {
        /// A timer has fired already, so `Relay::arm` must act on it.
        fired: bool,
    },
    Yes,
}

/// Timers to set with no lock held. Boxed, because the case is rare.
pub(super) struct Arming {
    alarm: Waker,
    runtimes: Vec<Handle>,
    deadline: Instant,
    /// The timers that have fired, to be dropped with no lock held.
    old: Vec<Pin<Box<Sleep>>>,
}

impl Watchdog {
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.alarm.is_some()
    }

    /// Stores the alarm, or returns it if an alarm is stored.
    pub(super) fn turn_on(&mut self, alarm: Waker) -> Option<Waker> {
        if self.is_on() {
            return Some(alarm);
        }
        self.alarm = Some(alarm);
        None
    }

    /// Notes the runtime on which the member `id` registers.
    ///
    /// Comparing threads is cheaper than comparing runtimes. So after the first eight members a
    /// thread is taken to run the same runtime as before.
    #[inline]
    pub(super) fn note(&mut self, id: MemberId) {
        let thread = this_thread();
        if self.thread != thread || id.is_early() {
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
                // The timers that are set may belong to a runtime that does not run. The next
                // wake-up sets them for all.
                if matches!(self.armed, Armed::Yes) {
                    self.armed = Armed::No;
                }
            }
        }
    }

    /// Notes that members were woken. Returns the timers to set if `others` were not woken.
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

    /// Notes that a timer has fired. `Ok` if all members are to be woken, otherwise the timers to
    /// set.
    pub(super) fn fire(&mut self, is_woken: bool) -> Result<(), Option<Box<Arming>>> {
        self.armed = match self.armed {
            // `Relay::arm` still holds the timers. `armed` returns the flag, and the watchdog fires
            // again.
            Armed::Setting { .. } => Armed::Setting { fired: true },
            Armed::No | Armed::Yes => Armed::No,
        };
        let Some(since) = self.since.filter(|_| is_woken) else { return Err(None) };
        // The timer was set for an earlier wake-up. The members of this wake-up have time left.
        if !is_due(since) {
            return Err(self.arm(since));
        }
        self.since = None;
        Ok(())
    }

    /// Stores the timers that were set. Returns whether a timer has fired already.
    pub(super) fn armed(&mut self, timers: Vec<Pin<Box<Sleep>>>) -> bool {
        let fired = matches!(self.armed, Armed::Setting { fired: true });
        self.armed = if fired || timers.is_empty() { Armed::No } else { Armed::Yes };
        // Drops nothing here: `arm` has moved the former timers into `Arming::old`.
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

/// Sets a timer on `runtime`. `None` if the runtime has no time driver or has shut down, because
/// tokio panics then.
fn set(runtime: &Handle, deadline: Instant, alarm: &Waker) -> Option<Pin<Box<Sleep>>> {
    let set = || {
        let _entered = runtime.enter();
        // Boxed: the watchdog lies under a lock, and a sleep must not move once it was polled.
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

/// The waker of the watchdog's timers, which calls [`WatchdogHost::on_watchdog`].
// Weak, because the relay owns the timers and the timers own this waker. A strong reference would
// leak both.
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
        // A waker of a member may panic. The panic ends here, because the timer belongs to no call.
        // In tokio's time driver the panic would drop the wakers that are about to be woken.
        drop(catch(rouse));
    }
}

pub(super) fn alarm<H: WatchdogHost>(host: &Arc<H>) -> Waker {
    Waker::from(Arc::new(RelayAlarm(Arc::downgrade(host))))
}

fn has_time(runtime: &Handle) -> bool {
    !without_time().contains(&runtime.id())
}

/// The lock is held for a look or a push. It may be taken under a relay's lock, and its holder
/// takes no other lock itself.
fn without_time() -> MutexGuard<'static, Vec<Id>> {
    WITHOUT_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the members woken at `since` have had their time.
fn is_due(since: Instant) -> bool {
    // loom has no clock: any moment may be due.
    cfg!(buttress_loom) || since.elapsed() >= PATIENCE
}

/// Runtimes whose timers cannot be used. Each is tried once, because each try reports a panic.
static WITHOUT_TIME: Mutex<Vec<Id>> = Mutex::new(Vec::new());

/// The time that the driver and the deputy have to take up the work before all others are woken.
const PATIENCE: Duration = Duration::from_millis(10);
