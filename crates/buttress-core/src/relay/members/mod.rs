use std::task::Waker;

use slab::Slab;

use crate::{Ambient, Criticality, Deadline};

mod wakers;

pub(super) use self::wakers::AllWakers;

/// The members of a relay: their deadlines, criticality and wakers.
#[derive(Debug)]
pub(super) struct Members {
    // A member that waits alone costs no allocation.
    first: Option<FirstMember>,
    others: Slab<Member>,
    /// The registered wakers of the others, each with the index of its member. [`Member::index`]
    /// points back, and `remove` keeps both in step.
    waiting: Vec<(usize, Waker)>,
    /// The number of members without a deadline.
    patient: usize,
    /// The latest deadline of all other members, unless `outdated`.
    latest: Option<Deadline>,
    /// The member with the latest deadline may have left, so `latest` must be computed anew.
    outdated: bool,
    /// A lower bound: no member but the first has an earlier deadline. The member with that
    /// deadline may have left.
    earliest: Option<Deadline>,
    /// A member waited until its deadline without a result.
    spent: bool,
    /// The highest criticality of all members that ever joined.
    criticality: Criticality,
}

/// The id of a member, valid until [`Relay::leave`](crate::Relay::leave), which is called
/// once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberId(usize);

impl MemberId {
    /// Returns whether this is the member that the relay was created, or reused, for.
    pub const fn is_first(self) -> bool {
        self.0 == 0
    }

    /// Whether this is among the first eight ids.
    pub(super) const fn is_early(self) -> bool {
        self.0 < 8
    }

    /// Whether this id makes two members three. Two members are always woken both, so only a third
    /// can be left out.
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
    /// The index of its waker in [`Members::waiting`]. Stale if the waker there belongs to another
    /// member.
    index: usize,
}

impl Members {
    #[inline]
    pub(super) fn new(ambient: Ambient) -> (Self, MemberId) {
        let Ambient { deadline, criticality } = ambient;
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

    /// Removes the only member. Returns `false` if there is anything to drop: a waker, or the
    /// memory of others.
    #[inline]
    pub(super) fn vacate(&mut self) -> bool {
        // The capacity counts, because a used slab keeps its memory. `waiting` needs no look: only
        // members in `others` register there.
        if self.others.capacity() > 0
            || self.first.as_ref().is_some_and(|first| first.waker.is_some())
        {
            return false;
        }
        self.first = None;
        true
    }

    /// Adds a first member after [`vacate`](Self::vacate).
    #[inline]
    pub(super) fn reuse(&mut self, ambient: Ambient) -> MemberId {
        let Ambient { deadline, criticality } = ambient;
        // Every field but `others` and `waiting` is set anew. `vacate` has found those two unused.
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

    pub(super) fn join(&mut self, ambient: Ambient) -> MemberId {
        let Ambient { deadline, criticality } = ambient;
        match deadline {
            Some(_) => {
                self.latest = self.latest.max(deadline);
                self.earliest = Deadline::earliest(self.earliest, deadline);
            }
            None => self.patient += 1,
        }
        self.criticality = self.criticality.max(criticality);
        // 0 may be the index of another member's waker. `wait_behind` and `index` compare the owner
        // first.
        MemberId(self.others.insert(Member { deadline, index: 0 }) + 1)
    }

    /// Whether a member has waited until its deadline. Reads the clock only if a member has a
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

    /// Notes that the member `id` is about to leave without a result.
    pub(super) fn note_unserved(&mut self, id: MemberId) {
        self.spent = self.spent || self.deadline(id).is_some_and(Deadline::has_passed);
    }

    /// Notes that a member waited without a result until a deadline that no [`Member`] holds.
    pub(super) fn close(&mut self) {
        self.spent = true;
    }

    /// Removes the member `id`. Returns its waker, to be dropped without the lock.
    pub(super) fn leave(&mut self, id: MemberId) -> Option<Waker> {
        // Must run before the member is removed: `take` finds the waker by the member's index. A
        // waker left behind would pass for that of the next member with the same slab key.
        let waker = self.take(id);
        let deadline = match id.0.checked_sub(1) {
            None => self.first.take()?.deadline,
            Some(member) => self.others.try_remove(member)?.deadline,
        };
        match deadline {
            // Recomputed only when the work is driven next: a crowd that leaves at once costs one
            // pass.
            Some(_) => self.outdated |= deadline == self.latest,
            None => self.patient -= 1,
        }
        waker
    }

    /// The ambient values of all members. A member without a deadline outlasts any deadline.
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

    /// Computes `earliest` anew. Runs once for each time that the member with the earliest deadline
    /// has left.
    #[cold]
    fn look_for_earliest(&mut self) {
        self.earliest = self.deadlines().min();
        // `is_closed` gets here only while `spent` is false, so the assignment never opens a closed
        // relay.
        self.spent = self.earliest.is_some_and(Deadline::has_passed);
    }

    fn deadlines(&self) -> impl Iterator<Item = Deadline> {
        let first = self.first.iter().filter_map(|first| first.deadline);
        first.chain(self.others.iter().filter_map(|(_, member)| member.deadline))
    }

    fn deadline(&self, id: MemberId) -> Option<Deadline> {
        match id.0.checked_sub(1) {
            None => self.first.as_ref()?.deadline,
            Some(member) => self.others.get(member)?.deadline,
        }
    }

    /// Whether there is no member but the first.
    #[inline]
    pub(super) fn is_alone(&self) -> bool {
        self.others.is_empty()
    }
}
