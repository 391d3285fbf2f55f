use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use buttress_state::{StoreErrorKind, StoreSnapshot};

use super::failure::Failure;

/// What became of the operations.
#[derive(Debug, Default)]
pub(super) struct Counters {
    operations: AtomicU64,
    connections: AtomicU64,
    timeouts: AtomicU64,
    unavailable: AtomicU64,
    rejected: AtomicU64,
    corrupt: AtomicU64,
}

impl Counters {
    pub(super) fn began(&self) {
        self.operations.fetch_add(1, Relaxed);
    }

    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    pub(super) fn failed(&self, failure: &Failure) {
        let counter = match failure.kind() {
            StoreErrorKind::Timeout => &self.timeouts,
            StoreErrorKind::Rejected => &self.rejected,
            StoreErrorKind::Corrupt => &self.corrupt,
            _ => &self.unavailable,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn snapshot(&self) -> StoreSnapshot {
        let mut snapshot = StoreSnapshot::default();
        snapshot.operations = self.operations.load(Relaxed);
        snapshot.connections = self.connections.load(Relaxed);
        snapshot.timeouts = self.timeouts.load(Relaxed);
        snapshot.unavailable = self.unavailable.load(Relaxed);
        snapshot.rejected = self.rejected.load(Relaxed);
        snapshot.corrupt = self.corrupt.load(Relaxed);
        snapshot
    }
}
