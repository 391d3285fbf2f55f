use std::{mem, task::Waker};

use slab::Slab;

use super::Terms;
use crate::{Criticality, Deadline};

/// Who waits for a piece of work, and on what terms.
#[derive(Debug)]
pub(super) struct Seats {
    // One that waits alone costs no allocation.
    first: Option<Seat>,
    others: Slab<Seat>,
    /// Members without a deadline.
    patient: usize,
    /// The latest deadline of the others.
    latest: Option<Deadline>,
    /// Whoever had the latest deadline may have left.
    outdated: bool,
    criticality: Criticality,
    /// Where the search for a deputy goes on.
    next: usize,
}

/// A member's place. It is given back with [`Relay::leave`](super::Relay::leave), once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(usize);

#[derive(Debug)]
struct Seat {
    waker: Option<Waker>,
    deadline: Option<Deadline>,
}

impl Seats {
    pub(super) fn new(terms: Terms) -> (Self, Place) {
        let Terms { deadline, criticality } = terms;
        let seats = Self {
            first: Some(Seat { waker: None, deadline }),
            others: Slab::new(),
            patient: usize::from(deadline.is_none()),
            latest: deadline,
            outdated: false,
            criticality,
            next: 0,
        };
        (seats, Place(0))
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.others.is_empty()
    }

    pub(super) fn enter(&mut self, terms: Terms) -> Place {
        let Terms { deadline, criticality } = terms;
        match deadline {
            Some(_) => self.latest = self.latest.max(deadline),
            None => self.patient += 1,
        }
        self.criticality = self.criticality.max(criticality);
        Place(self.others.insert(Seat { waker: None, deadline }) + 1)
    }

    /// Gives the place up, and returns the waker to be dropped.
    pub(super) fn leave(&mut self, place: Place) -> Option<Waker> {
        let seat = match place.0.checked_sub(1) {
            None => self.first.take(),
            Some(index) => self.others.try_remove(index),
        }?;
        match seat.deadline {
            Some(_) => self.outdated |= seat.deadline == self.latest,
            None => self.patient -= 1,
        }
        seat.waker
    }

    pub(super) fn terms(&mut self) -> Terms {
        if mem::take(&mut self.outdated) {
            self.latest = self.all().map(|(_, seat)| seat.deadline).max().flatten();
        }
        let deadline = self.latest.filter(|_| self.patient == 0);
        Terms { deadline, criticality: self.criticality }
    }

    /// Whether the member at `place` waits with this very waker.
    pub(super) fn is_waiting(&mut self, place: Place, waker: &Waker) -> bool {
        let seat = self.seat(place);
        seat.and_then(|seat| seat.waker.as_ref()).is_some_and(|known| known.will_wake(waker))
    }

    /// Lets the member at `place` wait, and returns the waker to be dropped.
    pub(super) fn wait(&mut self, place: Place, waker: Waker) -> Option<Waker> {
        match self.seat(place) {
            Some(seat) => seat.waker.replace(waker),
            None => Some(waker),
        }
    }

    /// Takes the wakers of the driver and of a deputy: of another task, if one is found soon.
    pub(super) fn heirs(&mut self, driver: Place) -> [Option<Waker>; 2] {
        let first = self.seat(driver).and_then(|seat| seat.waker.take());
        let second = self.deputy(first.as_ref()).and_then(|place| {
            self.next = place.0 + 1;
            self.seat(place)?.waker.take()
        });
        [first, second]
    }

    /// Takes all wakers.
    pub(super) fn everybody(&mut self) -> Everybody {
        let first = self.first.as_mut().and_then(|seat| seat.waker.take());
        let others = if self.others.is_empty() {
            Vec::new()
        } else {
            self.others.iter_mut().filter_map(|(_, seat)| seat.waker.take()).collect()
        };
        Everybody { first, others }
    }

    /// Somebody who waits, in turn.
    fn deputy(&self, driver: Option<&Waker>) -> Option<Place> {
        let end = self.others.capacity() + 1;
        let turns = (self.next..end).chain(0..self.next.min(end)).map(Place);
        let waiting = turns.filter_map(|place| Some((place, self.get(place)?.waker.as_ref()?)));
        let mut any = None;
        for (place, waker) in waiting.take(TRIED) {
            if driver.is_none_or(|driver| !driver.will_wake(waker)) {
                return Some(place);
            }
            any.get_or_insert(place);
        }
        any
    }

    fn all(&self) -> impl Iterator<Item = (Place, &Seat)> {
        let others = self.others.iter().map(|(index, seat)| (Place(index + 1), seat));
        self.first.iter().map(|seat| (Place(0), seat)).chain(others)
    }

    fn get(&self, place: Place) -> Option<&Seat> {
        match place.0.checked_sub(1) {
            None => self.first.as_ref(),
            Some(index) => self.others.get(index),
        }
    }

    fn seat(&mut self, place: Place) -> Option<&mut Seat> {
        match place.0.checked_sub(1) {
            None => self.first.as_mut(),
            Some(index) => self.others.get_mut(index),
        }
    }
}

/// The wakers of all members, to be woken with no lock held.
pub(super) struct Everybody {
    first: Option<Waker>,
    others: Vec<Waker>,
}

impl Everybody {
    pub(super) fn wake(self) {
        if let Some(first) = self.first {
            first.wake();
        }
        self.others.into_iter().for_each(Waker::wake);
    }
}

/// How many are looked at to find a deputy of another task.
const TRIED: usize = 8;
