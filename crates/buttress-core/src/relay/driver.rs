use std::task::Context;

use super::{MemberId, Relay, state::WorkPhase};
use crate::Ambient;

/// The work while it is driven. When it is dropped the work is done, or has panicked: nobody waits for
/// it any more.
#[derive(Debug)]
pub struct Driver<'a, W> {
    pub(super) relay: &'a Relay<W>,
    pub(super) work: Option<W>,
    pub(super) ambient: Ambient,
    pub(super) member: MemberId,
}

impl<W> Driver<'_, W> {
    /// The terms the work is driven on.
    #[inline]
    pub const fn ambient(&self) -> Ambient {
        self.ambient
    }

    /// The work, to be polled with a waker that [`ring`](Relay::wake_driver)s.
    #[inline]
    pub const fn work(&mut self) -> Option<&mut W> {
        self.work.as_mut()
    }

    /// Puts it back: it will ring. The member waits.
    pub fn park(mut self, cx: &mut Context<'_>) {
        let waker = cx.waker().clone();
        let mut state = self.relay.lock();
        state.put_back(self.work.take());
        let old = state.wait(self.member, waker);
        // Woken while it was out, when nobody could be told.
        let next_wakers = state.next_wakers();
        drop(state);
        self.relay.wake(next_wakers);
        drop(old);
    }

    /// Puts it back, after something new has been published, and tells everybody.
    pub fn publish(mut self) {
        let mut state = self.relay.lock();
        state.put_back(self.work.take());
        state.woken = true;
        state.generation += 1;
        let all_wakers = state.members.take_all_wakers();
        drop(state);
        all_wakers.wake();
    }

    /// The end of the work, for a member that is alone: there is nobody to be told, and nobody joins any
    /// more.
    ///
    /// If nothing else is left of those who were there, what is left of the work stays where it was, and
    /// the relay can be [renewed](Relay::reuse).
    #[inline]
    pub fn finish_alone(&mut self) -> DriveEnd {
        let mut state = self.relay.lock();
        if state.members.len() != 1 {
            return DriveEnd::Others;
        }
        if !state.members.vacate() {
            return DriveEnd::Alone;
        }
        state.phase = WorkPhase::Reusable;
        state.slot = self.work.take();
        DriveEnd::Reusable
    }
}

/// Whether others waited when a piece of work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriveEnd {
    /// Others wait, and are told when the turn is dropped.
    Others,
    /// Nobody.
    Alone,
    /// Nobody, and the relay can be [renewed](Relay::reuse).
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
