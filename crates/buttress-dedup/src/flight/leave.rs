use std::{
    hash::Hash,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use buttress_core::{Deadline, MemberId, Progress};
use buttress_state::sync::atomic::Ordering;

use super::{Flight, SharedResult, membership::DynFlight};

impl<K: Hash + Eq, W, A: SharedResult> Flight<K, W, A> {
    /// Removes the flight from the table, so that the next call of the key starts another flight.
    pub(crate) fn remove_from_table(&self) {
        // Relaxed: the lock of the shard orders the removal. The swap only lets one caller do the work.
        if self.in_table.swap(false, Ordering::Relaxed) {
            self.forbid_caching_of_older();
            self.table.remove(self.start.hash, self);
        }
    }

    /// Notes that a member leaves without a result. A deadline that ends at the response head is known only
    /// here, because the layer that enforces it drops the call while the deadline is ambient.
    fn note_unserved(&self, member: MemberId) {
        self.relay.note_unserved(member);
        if Deadline::head().is_some_and(Deadline::has_passed) {
            self.relay.close();
        }
    }

    /// Updates the table after a result was published or a member has left. `last`: no member is left.
    #[inline]
    pub(super) fn update_table(&self, last: bool) {
        match self.result.get() {
            None if last => self.remove_from_table(),
            None => {}
            Some(result) => match result.progress() {
                Progress::Complete => self.store_and_remove(result),
                Progress::Streaming if !last => {}
                progress => {
                    // Removed first. Otherwise a caller could join a response that is about to be abandoned.
                    self.remove_from_table();
                    if progress != Progress::Streaming {
                        result.decline();
                    }
                    if last {
                        result.abandon();
                    }
                }
            },
        }
    }

    /// Lets a store `keep` an entry of its own in this process, before the flight answers with the entry.
    #[cold]
    pub(crate) fn keep(&self, keep: impl FnOnce()) {
        // The same order as in `store_and_remove`, for the same reasons. A panic costs only the copy.
        self.forbid_caching_of_older();
        if catch_unwind(AssertUnwindSafe(keep)).is_ok() {
            self.table.bump_generation();
        }
    }

    fn store_and_remove(&self, result: &A) {
        // Relaxed, as in `remove_from_table`. `publish` and `leave` may both find the response complete,
        // and the swap lets a single caller store the response.
        if !self.in_table.swap(false, Ordering::Relaxed) {
            return;
        }
        // Cleared first. Otherwise the older result could overwrite this one.
        self.forbid_caching_of_older();
        // Order matters: store the entry, bump the generation, then remove the flight. A concurrent call finds
        // the flight, finds the entry, or sees the generation change in `FlightTable::start` and looks again.
        // `Clone` of a response and a store may panic. Then the response is not cached.
        if catch_unwind(AssertUnwindSafe(|| result.store())).unwrap_or(false) {
            self.table.bump_generation();
        }
        self.table.remove(self.start.hash, self);
    }
}

impl<K, W, A> DynFlight for Flight<K, W, A>
where
    K: Hash + Eq + Send + Sync + 'static,
    W: Send + 'static,
    A: SharedResult + Send + Sync + 'static,
{
    #[inline(never)]
    fn leave(&self, member: MemberId) {
        let is_first = member.is_first();
        if is_first {
            // Must run before `relay.leave`: a member that then finds itself alone reads this flag and may take
            // the leader's outcome. Relaxed: the lock of the relay orders the two.
            self.leader_left.store(true, Ordering::Relaxed);
        }
        // Must run before `relay.leave`, which forgets the deadline of this member.
        match self.result.get().map(SharedResult::progress) {
            None => self.note_unserved(member),
            Some(Progress::Streaming) => self.relay.note_unserved(member),
            Some(_) => {}
        }
        // If this was the last member, the relay drops the work, which runs code of the user and may panic. The
        // table must be updated all the same, so the panic resumes at the end.
        let left = catch_unwind(AssertUnwindSafe(|| self.relay.leave(member)));
        // If the drop of the work panics, the relay has removed the member before. An empty relay stays
        // empty, because `Relay::join_in_time` admits no caller to it.
        let last = left.as_ref().map_or_else(|_| self.members() == 0, |last| *last);
        // Read again after `relay.leave`: another member may have driven the work to its end and called
        // `publish` meanwhile.
        if is_first && !last && self.result.get().is_none() {
            self.table.count_handover();
        }
        self.update_table(last);
        if let Err(payload) = left {
            resume_unwind(payload);
        }
        // A response that is not shared may hold a permit for which the followers' own calls wait. Without
        // this, the permit would be held until the last member leaves. If the result is published after this
        // line, the first follower that comes drops the outcome (`decide` in `call/outcome.rs`).
        if is_first && let Some(result) = self.result.get() {
            result.drop_leaders_outcome();
        }
    }

    fn within(&self, step: &mut dyn FnMut()) {
        // The head has arrived, so a deadline that ends at the head does not reach the body.
        self.run(self.ambient(), step);
    }
}
