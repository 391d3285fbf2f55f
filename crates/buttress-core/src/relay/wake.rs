use std::{sync::Arc, task::Waker};

use super::{
    MemberId, Relay, WatchdogHost,
    state::{NextWakers, WorkPhase},
    watchdog::{Arming, alarm},
};
use crate::wake_all;

/// Wake-ups of members, and the end of the work.
impl<W> Relay<W> {
    /// Starts the watchdog once a third member has joined.
    ///
    /// From then on, members that are not polled delay the others by 10 ms at most. `id` is the
    /// member that joined last, and `host` the object that owns this relay.
    #[inline]
    pub fn start_watchdog<H: WatchdogHost>(&self, id: MemberId, host: &Arc<H>) {
        if id.is_third() {
            self.start_watchdog_with(alarm(host));
        }
    }

    /// Wakes a member to drive the work. The waker of the work calls this.
    pub fn wake_driver(&self) {
        let mut state = self.lock();
        // Woken before and not driven since: the members have been told already.
        if state.woken {
            return;
        }
        state.woken = true;
        // `Driver::park` looks at `woken` under this lock when it puts the work back.
        if matches!(state.phase, WorkPhase::Polling(_)) {
            return;
        }
        let next_wakers = state.next_wakers();
        drop(state);
        self.wake(next_wakers);
    }

    /// Wakes all members if the driver and the deputy have not taken up the work in time. The
    /// watchdog's timer calls this.
    pub fn wake_if_stalled(&self) {
        let mut state = self.lock();
        let (all_wakers, arming) = state.wake_if_stalled();
        drop(state);
        if let Some(all_wakers) = all_wakers {
            all_wakers.wake();
        }
        if let Some(arming) = arming {
            self.arm(*arming);
        }
    }

    #[cold]
    pub(super) fn end(&self, work: W) {
        // Runs even if dropping the work panics. Otherwise all members would wait for ever.
        let _finish = FinishOnDrop(self);
        drop(work);
    }

    /// Marks the work as ended and wakes all members.
    fn finish(&self) {
        let mut state = self.lock();
        state.phase = WorkPhase::Ended;
        state.generation += 1;
        let all_wakers = state.members.take_all_wakers();
        drop(state);
        all_wakers.wake();
    }

    #[inline]
    pub(super) fn wake(&self, next_wakers: NextWakers) {
        let NextWakers { wakers: [driver, deputy], arming } = next_wakers;
        // Runs last, even if a waker panics. Otherwise the watchdog would stay in `Armed::Setting`,
        // and no timer would ever be set again.
        let _arm_last = ArmLast(self, arming);
        if driver.is_some() || deputy.is_some() {
            wake_all(driver.into_iter().chain(deputy));
        }
    }

    #[cold]
    fn start_watchdog_with(&self, alarm: Waker) {
        // A waker that is not stored is dropped outside of the lock, like every waker.
        let known = self.lock().watchdog.turn_on(alarm);
        drop(known);
    }

    /// Sets timers with no lock held, because tokio takes locks of its own.
    ///
    /// A timer may fire before `armed` runs. `Watchdog::fire` notes that in `Armed::Setting`, and
    /// this method makes up for it.
    #[cold]
    fn arm(&self, arming: Arming) {
        let timers = arming.set();
        let fired = self.lock().watchdog.armed(timers);
        if fired {
            self.wake_if_stalled();
        }
    }
}

/// Sets the timers of the watchdog when dropped.
struct ArmLast<'a, W>(&'a Relay<W>, Option<Box<Arming>>);

impl<W> Drop for ArmLast<'_, W> {
    #[inline]
    fn drop(&mut self) {
        if let Some(arming) = self.1.take() {
            self.0.arm(*arming);
        }
    }
}

/// Ends the relay when dropped.
struct FinishOnDrop<'a, W>(&'a Relay<W>);

impl<W> Drop for FinishOnDrop<'_, W> {
    fn drop(&mut self) {
        self.0.finish();
    }
}
