use std::task::Waker;

use super::{
    MemberId,
    members::{AllWakers, Members},
    sync::this_thread,
    watchdog::{Arming, Watchdog},
};
use crate::Ambient;

/// The state of a relay, under its lock.
#[derive(Debug)]
pub(super) struct RelayState<W> {
    /// The work. `None` while a driver holds it, and after the end.
    pub(super) slot: Option<W>,
    pub(super) phase: WorkPhase,
    /// The work was woken, or is new, and has not been driven since.
    pub(super) woken: bool,
    /// The number of results published so far.
    pub(super) generation: u64,
    /// The member that drove last, which may have left.
    pub(super) driver: MemberId,
    pub(super) members: Members,
    pub(super) watchdog: Watchdog,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorkPhase {
    /// The work lies in the slot.
    Idle,
    /// The work is being driven, on the thread with this mark.
    Polling(usize),
    /// The work is done, and its remains lie in the slot for the next work.
    Reusable,
    /// The work is done or abandoned.
    Ended,
}

impl<W> RelayState<W> {
    /// Whether there are more than `known` results, or no more will follow.
    pub(super) fn is_later_than(&self, known: u64) -> bool {
        self.generation > known || matches!(self.phase, WorkPhase::Ended | WorkPhase::Reusable)
    }

    /// Takes the work out of the slot if it needs a driver, and makes `id` the driver.
    #[inline]
    pub(super) fn take(&mut self, id: MemberId) -> Option<(W, Ambient)> {
        if !self.woken || self.phase != WorkPhase::Idle {
            return None;
        }
        let work = self.slot.take()?;
        self.phase = WorkPhase::Polling(this_thread());
        // Before the poll, so that a wake-up during the poll is not lost: `wake_driver` sets the
        // flag again, and `park` looks at it.
        self.woken = false;
        self.driver = id;
        Some((work, self.members.ambient()))
    }

    #[inline]
    pub(super) fn put_back(&mut self, work: Option<W>) {
        self.phase = if work.is_some() { WorkPhase::Idle } else { WorkPhase::Ended };
        self.slot = work;
    }

    /// Registers the waker of the member `id`. Returns the replaced waker, to be dropped without
    /// the lock.
    #[inline]
    pub(super) fn wait(&mut self, id: MemberId, waker: Waker) -> Option<Waker> {
        // A member that is alone has no use for a watchdog, and pays nothing for it.
        if !id.is_first() || !self.members.is_alone() {
            self.watchdog.note(id);
        }
        self.members.wait(id, waker)
    }

    /// Takes the wakers of the driver and of a deputy, if the work needs a driver.
    #[inline]
    pub(super) fn next_wakers(&mut self) -> NextWakers {
        if !self.needs_driver() {
            return NextWakers::default();
        }
        let wakers = self.members.next_wakers(self.driver);
        let [_, deputy] = &wakers;
        // Without a deputy all waiting members share the driver's task, and there is nothing for
        // the watchdog to wake.
        let others = deputy.is_some() && self.members.is_anyone_waiting();
        NextWakers { wakers, arming: self.watchdog.start(others) }
    }

    /// Takes the wakers of all members if the driver and the deputy have had their time. Otherwise
    /// returns the timers to set.
    pub(super) fn wake_if_stalled(&mut self) -> (Option<AllWakers>, Option<Box<Arming>>) {
        let needs_driver = self.needs_driver();
        match self.watchdog.fire(needs_driver) {
            Ok(()) => (Some(self.members.take_all_wakers()), None),
            Err(arming) => (None, arming),
        }
    }

    /// Whether the work is woken and lies in the slot.
    fn needs_driver(&self) -> bool {
        self.woken && self.phase == WorkPhase::Idle
    }
}

/// Wakers to wake and timers to set, with no lock held and in this order.
#[derive(Default)]
pub(super) struct NextWakers {
    pub(super) wakers: [Option<Waker>; 2],
    pub(super) arming: Option<Box<Arming>>,
}
