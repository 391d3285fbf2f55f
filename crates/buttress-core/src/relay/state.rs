use std::task::Waker;

use super::{
    Place,
    members::{Everybody, Seats},
    sync::this_thread,
    watch::{Arming, Watch},
};
use crate::Terms;

#[derive(Debug)]
pub(super) struct State<W> {
    /// The work, unless it is being driven or gone.
    pub(super) slot: Option<W>,
    pub(super) phase: Phase,
    /// The work has been woken, or never driven, and nobody has driven it since.
    pub(super) woken: bool,
    /// How many times there was something new.
    pub(super) news: u64,
    pub(super) driver: Place,
    pub(super) seats: Seats,
    pub(super) watch: Watch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The work lies there.
    In,
    /// It is being driven, on the thread with this mark.
    Out(usize),
    /// It is done, and what is left of it lies there for the next.
    Spent,
    /// It is done, or given up.
    Gone,
}

impl<W> State<W> {
    pub(super) fn is_news(&self, known: u64) -> bool {
        self.news > known || matches!(self.phase, Phase::Gone | Phase::Spent)
    }

    /// Takes the work out, if it needs somebody to drive it.
    #[inline]
    pub(super) fn take(&mut self, place: Place) -> Option<(W, Terms)> {
        if !self.woken || self.phase != Phase::In {
            return None;
        }
        let work = self.slot.take()?;
        self.phase = Phase::Out(this_thread());
        self.woken = false;
        self.driver = place;
        Some((work, self.seats.terms()))
    }

    pub(super) fn put_back(&mut self, work: Option<W>) {
        self.phase = if work.is_some() { Phase::In } else { Phase::Gone };
        self.slot = work;
    }

    /// Lets the member at `place` wait, and returns the waker to be dropped.
    #[inline]
    pub(super) fn wait(&mut self, place: Place, waker: Waker) -> Option<Waker> {
        if !place.is_first() || !self.seats.is_alone() {
            self.watch.note(place);
        }
        self.seats.wait(place, waker)
    }

    /// Who is to be woken, if the work lies there woken: the driver, and a deputy.
    #[inline]
    pub(super) fn heirs(&mut self) -> Heirs {
        if !self.is_idle() {
            return Heirs::default();
        }
        let wakers = self.seats.heirs(self.driver);
        let [_, deputy] = &wakers;
        // Without a deputy all who wait are in the driver's task.
        let others = deputy.is_some() && self.seats.is_anyone_waiting();
        Heirs { wakers, arming: self.watch.start(others) }
    }

    /// Those that were woken may not have taken the work up: who else is to be woken.
    pub(super) fn rouse(&mut self) -> (Option<Everybody>, Option<Box<Arming>>) {
        let is_idle = self.is_idle();
        match self.watch.fire(is_idle) {
            Ok(()) => (Some(self.seats.everybody()), None),
            Err(arming) => (None, arming),
        }
    }

    /// Whether the work lies there woken.
    fn is_idle(&self) -> bool {
        self.woken && self.phase == Phase::In
    }
}

/// Who is to be woken with no lock held, and what to be armed after that.
#[derive(Default)]
pub(super) struct Heirs {
    pub(super) wakers: [Option<Waker>; 2],
    pub(super) arming: Option<Box<Arming>>,
}
