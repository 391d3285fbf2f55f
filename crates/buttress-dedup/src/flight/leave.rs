use std::{
    hash::Hash,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use buttress_core::{Deadline, MemberId, Progress};

use super::{Flight, SharedResult, membership::DynFlight};
use crate::sync::atomic::Ordering;

impl<K: Hash + Eq, W, A: SharedResult> Flight<K, W, A> {
    /// Takes it out of the table: the next call of its key starts another.
    pub(crate) fn remove_from_table(&self) {
        if self.in_table.swap(false, Ordering::Relaxed) {
            self.forbid_caching_of_older();
            self.table.remove(self.start.hash, self);
        }
    }

    /// A member leaves without an answer. Of a deadline that ends at the response head it is known only
    /// here: whoever enforces it drops the call under it.
    fn note_unserved(&self, member: MemberId) {
        self.relay.note_unserved(member);
        if Deadline::head().is_some_and(Deadline::has_passed) {
            self.relay.close();
        }
    }

    /// What there is of the answer now decides what becomes of the flight.
    pub(super) fn update_table(&self, last: bool) {
        match self.result.get() {
            None if last => self.remove_from_table(),
            None => {}
            Some(result) => match result.progress() {
                Progress::Complete => self.store_and_remove(result),
                Progress::Streaming if !last => {}
                _ => {
                    // First, or somebody could join what is about to be given up.
                    self.remove_from_table();
                    if last {
                        result.abandon();
                    }
                }
            },
        }
    }

    fn store_and_remove(&self, result: &A) {
        if !self.in_table.swap(false, Ordering::Relaxed) {
            return;
        }
        // First, or what is older could come over what is kept here.
        self.forbid_caching_of_older();
        // In this order, so that a call finds the flight, or what it brought, or knows that it missed it.
        // A response's `Clone` and a store may panic: then it is not kept.
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
            // Before it has left: whoever finds itself alone then knows that the outcome is its own.
            self.leader_left.store(true, Ordering::Relaxed);
        }
        match self.result.get().map(SharedResult::progress) {
            None => self.note_unserved(member),
            Some(Progress::Streaming) => self.relay.note_unserved(member),
            Some(_) => {}
        }
        // If it was the last, the work is dropped, which is other people's code.
        let left = catch_unwind(AssertUnwindSafe(|| self.relay.leave(member)));
        let last = left.as_ref().map_or_else(|_| self.members() == 0, |last| *last);
        if is_first && !last && self.result.get().is_none() {
            self.table.count_handover();
        }
        self.update_table(last);
        if let Err(payload) = left {
            resume_unwind(payload);
        }
    }

    fn within(&self, step: &mut dyn FnMut()) {
        // The response is there: a deadline that ended at its head does not reach the body.
        self.run(self.ambient(), step);
    }
}
