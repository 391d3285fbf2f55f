use std::task::Context;

use super::{MemberId, Relay, state::WorkPhase};
use crate::Ambient;

/// The right to drive the work of a [`Relay`].
///
/// Dropping it ends the work, because the work is done or has panicked. All members are woken and
/// no more results follow.
#[derive(Debug)]
pub struct Driver<'a, W> {
    pub(super) relay: &'a Relay<W>,
    pub(super) work: Option<W>,
    pub(super) ambient: Ambient,
    pub(super) member: MemberId,
}

impl<W> Driver<'_, W> {
    /// Returns the ambient values that the work is driven under.
    #[inline]
    pub const fn ambient(&self) -> Ambient {
        self.ambient
    }

    /// Returns the work, to be polled with a waker that calls [`Relay::wake_driver`].
    #[inline]
    pub const fn work(&mut self) -> Option<&mut W> {
        self.work.as_mut()
    }

    /// Puts the work back, because it is pending. This member waits.
    pub fn park(mut self, cx: &mut Context<'_>) {
        let waker = cx.waker().clone();
        let mut state = self.relay.lock();
        state.put_back(self.work.take());
        // Register before `next_wakers`: if the work was woken meanwhile, this member may be the
        // one to wake.
        let old = state.wait(self.member, waker);
        // `wake_driver` wakes no member while the work is out of the slot, so a wake-up of that
        // time is passed on here.
        let next_wakers = state.next_wakers();
        drop(state);
        self.relay.wake(next_wakers);
        drop(old);
    }

    /// Puts the work back after a new result, and wakes all members.
    ///
    /// The work counts as woken: the first member that is polled drives on.
    pub fn publish(mut self) {
        let mut state = self.relay.lock();
        state.put_back(self.work.take());
        state.woken = true;
        state.generation += 1;
        let all_wakers = state.members.take_all_wakers();
        drop(state);
        all_wakers.wake();
    }

    /// Ends the work without a wake-up, for a driver that is the only member.
    ///
    /// No caller can join any more. If the members have left nothing behind that would have to be
    /// dropped, the remains of the work stay in the slot, and the relay can be
    /// [reused](Relay::reuse).
    #[inline]
    pub fn finish_alone(&mut self) -> DriveEnd {
        let mut state = self.relay.lock();
        if state.members.len() != 1 {
            return DriveEnd::Others;
        }
        // A registered waker or a used slab is foreign or large. The caller drops the relay
        // instead.
        if !state.members.vacate() {
            return DriveEnd::Alone;
        }
        state.phase = WorkPhase::Reusable;
        state.slot = self.work.take();
        DriveEnd::Reusable
    }
}

/// The result of driving the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driven {
    /// No new result. The work will call [`Relay::wake_driver`].
    Pending,
    /// A new result has been published, and more may follow.
    More,
    /// The last result has been published. The work is dropped.
    Done,
}

/// Whether other members waited when the work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriveEnd {
    /// Others wait. They are woken when the [`Driver`] is dropped.
    Others,
    /// No other member waits.
    Alone,
    /// No other member waits, and the relay can be [reused](Relay::reuse).
    Reusable,
}

impl<W> Drop for Driver<'_, W> {
    #[inline]
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.relay.end(work);
        }
    }
}
