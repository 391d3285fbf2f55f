use std::{mem, task::Waker};

use super::{Member, MemberId, Members};
use crate::wake_all;

/// The registered wakers.
impl Members {
    /// Whether the first member has registered this very waker.
    pub(in crate::relay) fn is_waiting(&self, waker: &Waker) -> bool {
        let known = self.first.as_ref().and_then(|first| first.waker.as_ref());
        known.is_some_and(|known| known.will_wake(waker))
    }

    /// Registers the waker of the member `id`. Returns the replaced waker, to be dropped without
    /// the lock.
    #[inline]
    pub(in crate::relay) fn wait(&mut self, id: MemberId, waker: Waker) -> Option<Waker> {
        match (id.0.checked_sub(1), &mut self.first) {
            (Some(member), _) => self.wait_behind(member, waker),
            (None, Some(first)) => first.waker.replace(waker),
            (None, None) => Some(waker),
        }
    }

    /// Does the same for a member that is not the first.
    fn wait_behind(&mut self, member: usize, waker: Waker) -> Option<Waker> {
        let Some(Member { index, .. }) = self.others.get_mut(member) else { return Some(waker) };
        match self.waiting.get_mut(*index) {
            Some((owner, known)) if *owner == member => Some(mem::replace(known, waker)),
            // The index is stale: the member has not waited yet, or its waker was taken. The waker
            // of another member may stand there.
            _ => {
                *index = self.waiting.len();
                self.waiting.push((member, waker));
                None
            }
        }
    }

    /// Whether a member waits that has not been woken.
    pub(in crate::relay) fn is_anyone_waiting(&self) -> bool {
        !self.waiting.is_empty() || self.first.as_ref().is_some_and(|first| first.waker.is_some())
    }

    /// Takes two wakers: that of the driver, or of any member if the driver does not wait, and that
    /// of a deputy in another task.
    #[inline]
    pub(in crate::relay) fn next_wakers(&mut self, driver: MemberId) -> [Option<Waker>; 2] {
        if self.is_alone() {
            return [self.first.as_mut().and_then(|first| first.waker.take()), None];
        }
        self.next_wakers_of_many(driver)
    }

    fn next_wakers_of_many(&mut self, driver: MemberId) -> [Option<Waker>; 2] {
        // A deputy in the same task would not help if that task is not polled. `will_wake` compares
        // pointers and runs no foreign code, so the relay's lock may be held.
        let first = self.take(driver).or_else(|| self.take_any(|_| true));
        let second =
            first.as_ref().and_then(|first| self.take_any(|waker| !first.will_wake(waker)));
        [first, second]
    }

    /// Takes the wakers of all members.
    pub(in crate::relay) fn take_all_wakers(&mut self) -> AllWakers {
        let first = self.first.as_mut().and_then(|first| first.waker.take());
        // The vector moves out with its wakers. `AllWakers::wake` consumes it without the relay's
        // lock, because wakers are foreign code.
        AllWakers { first, others: mem::take(&mut self.waiting) }
    }

    /// Takes a waker that `suits`. Of the others, the member that registered last is the likeliest
    /// to be polled soon.
    fn take_any(&mut self, suits: impl Fn(&Waker) -> bool) -> Option<Waker> {
        let first = self.first.as_mut();
        first.and_then(|first| first.waker.take_if(|waker| suits(waker))).or_else(|| {
            let index = self.waiting.iter().rposition(|(_, waker)| suits(waker))?;
            Some(self.remove(index))
        })
    }

    pub(super) fn take(&mut self, id: MemberId) -> Option<Waker> {
        match id.0.checked_sub(1) {
            None => self.first.as_mut()?.waker.take(),
            Some(member) => self.index(member).map(|index| self.remove(index)),
        }
    }

    /// The index of this member's waker, if the member waits.
    fn index(&self, member: usize) -> Option<usize> {
        let index = self.others.get(member)?.index;
        self.waiting.get(index).is_some_and(|(owner, _)| *owner == member).then_some(index)
    }

    fn remove(&mut self, index: usize) -> Waker {
        let (_, waker) = self.waiting.swap_remove(index);
        // `swap_remove` has moved the last waker to `index`: its member must point there.
        let moved = self.waiting.get(index).and_then(|(owner, _)| self.others.get_mut(*owner));
        if let Some(moved) = moved {
            moved.index = index;
        }
        waker
    }
}

/// The wakers of all members, to be woken with no lock held.
pub(in crate::relay) struct AllWakers {
    first: Option<Waker>,
    others: Vec<(usize, Waker)>,
}

impl AllWakers {
    pub(in crate::relay) fn wake(self) {
        let others = self.others.into_iter().map(|(_, waker)| waker);
        wake_all(self.first.into_iter().chain(others));
    }
}
