use std::sync::atomic::{AtomicU64, Ordering};

use buttress_core::Criticality;

/// The numbers of calls that were refused, or left the queue. Shared by the services that share the limit, and by the handles of
/// all its keys.
///
/// Each counter stands for itself and orders no other memory, so all accesses are `Relaxed`.
#[derive(Debug, Default)]
pub(crate) struct RejectionCounts {
    /// By [`Criticality::index`], without spare calls.
    rejected: [AtomicU64; 4],
    spare_refused: AtomicU64,
    abandoned: AtomicU64,
}

impl RejectionCounts {
    pub(crate) fn add(&self, criticality: Criticality) {
        if let Some(count) = self.rejected.get(criticality.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn add_spare(&self) {
        self.spare_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call that its caller dropped in the queue.
    pub(crate) fn add_abandoned(&self) {
        self.abandoned.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn rejected(&self) -> [u64; 4] {
        self.rejected.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    pub(crate) fn spare_refused(&self) -> u64 {
        self.spare_refused.load(Ordering::Relaxed)
    }

    pub(crate) fn abandoned(&self) -> u64 {
        self.abandoned.load(Ordering::Relaxed)
    }
}
