use std::{mem, task::Waker};

use slab::Slab;

use crate::{Ambient, Criticality, Deadline, wake_all};

/// Who waits for a piece of work, and on what terms.
#[derive(Debug)]
pub(super) struct Members {
    // One that waits alone costs no allocation.
    first: Option<FirstMember>,
    others: Slab<Member>,
    /// The wakers of the others, and the members they belong to.
    waiting: Vec<(usize, Waker)>,
    /// Members without a deadline.
    patient: usize,
    /// The latest deadline of the others.
    latest: Option<Deadline>,
    /// The member with the latest deadline may have left.
    outdated: bool,
    /// No member but the first has an earlier deadline. The member that had this one may have left.
    earliest: Option<Deadline>,
    /// A member has left that had waited in vain until its deadline.
    spent: bool,
    criticality: Criticality,
}

/// A member's place. It is given back with [`Relay::leave`](super::Relay::leave), once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberId(usize);

impl MemberId {
    /// Whether it is that of the member whom the relay was made, or renewed, for.
    pub const fn is_first(self) -> bool {
        self.0 == 0
    }

    /// Whether it is one of the first eight.
    pub(super) const fn is_early(self) -> bool {
        self.0 < 8
    }

    /// Whether it is the one that makes two members three. No more than two are woken at a time.
    pub(super) const fn is_third(self) -> bool {
        self.0 == 2
    }
}

#[derive(Debug)]
struct FirstMember {
    deadline: Option<Deadline>,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Member {
    deadline: Option<Deadline>,
    /// Where its waker is among those waiting, if the one there is its own.
    index: usize,
}

impl Members {
    #[inline]
    pub(super) fn new(terms: Ambient) -> (Self, MemberId) {
        let Ambient { deadline, criticality } = terms;
        let members = Self {
            first: Some(FirstMember { deadline, waker: None }),
            others: Slab::new(),
            waiting: Vec::new(),
            patient: usize::from(deadline.is_none()),
            latest: deadline,
            outdated: false,
            earliest: None,
            spent: false,
            criticality,
        };
        (members, MemberId(0))
    }

    /// The one member goes, if it leaves nothing behind that would have to be dropped.
    #[inline]
    pub(super) fn vacate(&mut self) -> bool {
        if self.others.capacity() > 0
            || self.first.as_ref().is_some_and(|first| first.waker.is_some())
        {
            return false;
        }
        self.first = None;
        true
    }

    /// A new first member, where nobody sits.
    #[inline]
    pub(super) fn reuse(&mut self, terms: Ambient) -> MemberId {
        let Ambient { deadline, criticality } = terms;
        self.first = Some(FirstMember { deadline, waker: None });
        self.patient = usize::from(deadline.is_none());
        self.latest = deadline;
        self.outdated = false;
        self.earliest = None;
        self.spent = false;
        self.criticality = criticality;
        MemberId(0)
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.others.is_empty()
    }

    pub(super) fn join(&mut self, terms: Ambient) -> MemberId {
        let Ambient { deadline, criticality } = terms;
        match deadline {
            Some(_) => {
                self.latest = self.latest.max(deadline);
                self.earliest = Deadline::earliest(self.earliest, deadline);
            }
            None => self.patient += 1,
        }
        self.criticality = self.criticality.max(criticality);
        MemberId(self.others.insert(Member { deadline, index: 0 }) + 1)
    }

    /// Whether a member has spent its whole patience here. The clock is read only if a member has a
    /// deadline.
    #[inline]
    pub(super) fn is_closed(&mut self) -> bool {
        if !self.spent && self.patient != self.len() {
            self.look_at_earliest();
        }
        self.spent
    }

    fn look_at_earliest(&mut self) {
        let first = self.first.as_ref().and_then(|first| first.deadline);
        let earliest = Deadline::earliest(first, self.earliest);
        if earliest.is_some_and(Deadline::has_passed) {
            self.look_for_earliest();
        }
    }

    /// The member at `place` is about to leave with nothing.
    pub(super) fn note_unserved(&mut self, place: MemberId) {
        self.spent = self.spent || self.deadline(place).is_some_and(Deadline::has_passed);
    }

    /// A member has waited in vain until a deadline that no [`Member`] holds.
    pub(super) fn close(&mut self) {
        self.spent = true;
    }

    /// Gives the place up, and returns the waker to be dropped.
    pub(super) fn leave(&mut self, place: MemberId) -> Option<Waker> {
        let waker = self.take(place);
        let deadline = match place.0.checked_sub(1) {
            None => self.first.take()?.deadline,
            Some(member) => self.others.try_remove(member)?.deadline,
        };
        match deadline {
            Some(_) => self.outdated |= deadline == self.latest,
            None => self.patient -= 1,
        }
        waker
    }

    #[inline]
    pub(super) fn ambient(&mut self) -> Ambient {
        if self.outdated {
            self.look_for_latest();
        }
        let deadline = if self.patient == 0 { self.latest } else { None };
        Ambient { deadline, criticality: self.criticality }
    }

    #[cold]
    fn look_for_latest(&mut self) {
        self.latest = self.deadlines().max();
        self.outdated = false;
    }

    /// Once for each time that the member with the earliest deadline has left.
    #[cold]
    fn look_for_earliest(&mut self) {
        self.earliest = self.deadlines().min();
        self.spent = self.earliest.is_some_and(Deadline::has_passed);
    }

    fn deadlines(&self) -> impl Iterator<Item = Deadline> {
        let first = self.first.iter().filter_map(|first| first.deadline);
        first.chain(self.others.iter().filter_map(|(_, member)| member.deadline))
    }

    fn deadline(&self, place: MemberId) -> Option<Deadline> {
        match place.0.checked_sub(1) {
            None => self.first.as_ref()?.deadline,
            Some(member) => self.others.get(member)?.deadline,
        }
    }

    /// Whether the first member waits with this very waker.
    pub(super) fn is_waiting(&self, waker: &Waker) -> bool {
        let known = self.first.as_ref().and_then(|first| first.waker.as_ref());
        known.is_some_and(|known| known.will_wake(waker))
    }

    /// Lets the member at `place` wait, and returns the waker to be dropped.
    #[inline]
    pub(super) fn wait(&mut self, place: MemberId, waker: Waker) -> Option<Waker> {
        match (place.0.checked_sub(1), &mut self.first) {
            (Some(member), _) => self.wait_behind(member, waker),
            (None, Some(first)) => first.waker.replace(waker),
            (None, None) => Some(waker),
        }
    }

    /// The same for one of the others.
    fn wait_behind(&mut self, member: usize, waker: Waker) -> Option<Waker> {
        let Some(Member { index, .. }) = self.others.get_mut(member) else { return Some(waker) };
        match self.waiting.get_mut(*index) {
            Some((owner, known)) if *owner == member => Some(mem::replace(known, waker)),
            _ => {
                *index = self.waiting.len();
                self.waiting.push((member, waker));
                None
            }
        }
    }

    /// Whether a member waits who has not been woken.
    pub(super) fn is_anyone_waiting(&self) -> bool {
        !self.waiting.is_empty() || self.first.as_ref().is_some_and(|first| first.waker.is_some())
    }

    /// Whether the first member is all there is.
    #[inline]
    pub(super) fn is_alone(&self) -> bool {
        self.others.is_empty()
    }

    /// Takes two wakers: of the driver or, if it does not wait, of anybody, and of a deputy who is
    /// another task.
    #[inline]
    pub(super) fn next_wakers(&mut self, driver: MemberId) -> [Option<Waker>; 2] {
        if self.is_alone() {
            return [self.first.as_mut().and_then(|first| first.waker.take()), None];
        }
        self.next_wakers_of_many(driver)
    }

    fn next_wakers_of_many(&mut self, driver: MemberId) -> [Option<Waker>; 2] {
        let first = self.take(driver).or_else(|| self.take_any(|_| true));
        let second =
            first.as_ref().and_then(|first| self.take_any(|waker| !first.will_wake(waker)));
        [first, second]
    }

    /// Takes all wakers.
    pub(super) fn take_all_wakers(&mut self) -> AllWakers {
        let first = self.first.as_mut().and_then(|first| first.waker.take());
        AllWakers { first, others: mem::take(&mut self.waiting) }
    }

    /// Takes a waker that `suits`. Of the others, whoever came last is the likeliest to be polled soon.
    fn take_any(&mut self, suits: impl Fn(&Waker) -> bool) -> Option<Waker> {
        let first = self.first.as_mut();
        first.and_then(|first| first.waker.take_if(|waker| suits(waker))).or_else(|| {
            let index = self.waiting.iter().rposition(|(_, waker)| suits(waker))?;
            Some(self.remove(index))
        })
    }

    fn take(&mut self, place: MemberId) -> Option<Waker> {
        match place.0.checked_sub(1) {
            None => self.first.as_mut()?.waker.take(),
            Some(member) => self.index(member).map(|index| self.remove(index)),
        }
    }

    /// Where the waker of this member is, if it waits.
    fn index(&self, member: usize) -> Option<usize> {
        let index = self.others.get(member)?.index;
        self.waiting.get(index).is_some_and(|(owner, _)| *owner == member).then_some(index)
    }

    fn remove(&mut self, index: usize) -> Waker {
        let (_, waker) = self.waiting.swap_remove(index);
        let moved = self.waiting.get(index).and_then(|(owner, _)| self.others.get_mut(*owner));
        if let Some(moved) = moved {
            moved.index = index;
        }
        waker
    }
}

/// The wakers of all members, to be woken with no lock held.
pub(super) struct AllWakers {
    first: Option<Waker>,
    others: Vec<(usize, Waker)>,
}

impl AllWakers {
    pub(super) fn wake(self) {
        let others = self.others.into_iter().map(|(_, waker)| waker);
        wake_all(self.first.into_iter().chain(others));
    }
}
