use std::task::Waker;

use super::{Place, Terms, seats::Seats, sync::this_thread};

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

    /// Who is to be woken, if the work lies there woken: the driver, and a deputy.
    pub(super) fn heirs(&mut self) -> [Option<Waker>; 2] {
        match self.phase {
            Phase::In if self.woken => self.seats.heirs(self.driver),
            _ => [None, None],
        }
    }
}
