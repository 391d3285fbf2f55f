use std::task::Waker;

use super::{
    MemberId,
    members::{AllWakers, Members},
    sync::this_thread,
    watchdog::{Arming, Watchdog},
};
use crate::Ambient;

#[derive(Debug)]
pub(super) struct RelayState<W> {
    /// The work, unless it is being driven or gone.
    pub(super) slot: Option<W>,
    pub(super) phase: WorkPhase,
    /// The work has been woken, or never driven, and nobody has driven it since.
    pub(super) woken: bool,
    /// How many times there was something new.
    pub(super) generation: u64,
    pub(super) driver: MemberId,
    pub(super) members: Members,
    pub(super) watchdog: Watchdog,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorkPhase {
    /// The work lies there.
    Idle,
    /// It is being driven, on the thread with this mark.
    Polling(usize),
    /// It is done, and what is left of it lies there for the next.
    Reusable,
    /// It is done, or given up.
    Ended,
}

impl<W> RelayState<W> {
    pub(super) fn is_later_than(&self, known: u64) -> bool {
        self.generation > known || matches!(self.phase, WorkPhase::Ended | WorkPhase::Reusable)
    }

    /// Takes the work out, if it needs somebody to drive it.
    #[inline]
    pub(super) fn take(&mut self, place: MemberId) -> Option<(W, Ambient)> {
        if !self.woken || self.phase != WorkPhase::Idle {
            return None;
        }
        let work = self.slot.take()?;
        self.phase = WorkPhase::Polling(this_thread());
        self.woken = false;
        self.driver = place;
        Some((work, self.members.ambient()))
    }

    pub(super) fn put_back(&mut self, work: Option<W>) {
        self.phase = if work.is_some() { WorkPhase::Idle } else { WorkPhase::Ended };
        self.slot = work;
    }

    /// Lets the member at `place` wait, and returns the waker to be dropped.
    #[inline]
    pub(super) fn wait(&mut self, place: MemberId, waker: Waker) -> Option<Waker> {
        if !place.is_first() || !self.members.is_alone() {
            self.watchdog.note(place);
        }
        self.members.wait(place, waker)
    }

    /// Who is to be woken, if the work lies there woken: the driver, and a deputy.
    #[inline]
    pub(super) fn next_wakers(&mut self) -> NextWakers {
        if !self.needs_driver() {
            return NextWakers::default();
        }
        let wakers = self.members.next_wakers(self.driver);
        let [_, deputy] = &wakers;
        // Without a deputy all who wait are in the driver's task.
        let others = deputy.is_some() && self.members.is_anyone_waiting();
        NextWakers { wakers, arming: self.watchdog.start(others) }
    }

    /// Those that were woken may not have taken the work up: who else is to be woken.
    pub(super) fn wake_if_stalled(&mut self) -> (Option<AllWakers>, Option<Box<Arming>>) {
        let needs_driver = self.needs_driver();
        match self.watchdog.fire(needs_driver) {
            Ok(()) => (Some(self.members.take_all_wakers()), None),
            Err(arming) => (None, arming),
        }
    }

    /// Whether the work lies there woken.
    fn needs_driver(&self) -> bool {
        self.woken && self.phase == WorkPhase::Idle
    }
}

/// Who is to be woken with no lock held, and what to be armed after that.
#[derive(Default)]
pub(super) struct NextWakers {
    pub(super) wakers: [Option<Waker>; 2],
    pub(super) arming: Option<Box<Arming>>,
}
