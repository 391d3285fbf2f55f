use buttress_core::Attempt;
use buttress_state::sync::atomic::{AtomicBool, Ordering};

/// Whether a call that is not spare has joined the flight of a spare leader. Not used if the leader is not
/// spare.
pub(super) struct SpareLeader {
    // Relaxed accesses: a call that joins while the work is polled may come too late for that poll. Never
    // reset, because a flight that had a follower is not reused (`Relay::reuse`).
    is_needed: AtomicBool,
}

impl SpareLeader {
    pub(super) fn new() -> Self {
        Self { is_needed: AtomicBool::new(false) }
    }

    /// Notes that the current call has joined.
    #[inline]
    pub(super) fn note_follower(&self, leader: Attempt) {
        if leader.is_spare() && !Attempt::current().is_spare() {
            self.is_needed.store(true, Ordering::Relaxed);
        }
    }

    /// The attempt of the flight: that of its leader, spare only while all members are.
    #[inline]
    pub(super) fn attempt(&self, leader: Attempt) -> Attempt {
        if leader.is_spare() && self.is_needed.load(Ordering::Relaxed) {
            leader.not_spare()
        } else {
            leader
        }
    }
}
