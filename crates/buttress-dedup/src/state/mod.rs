use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use self::registry::Registry;

mod registry;
mod snapshot;

pub(crate) use self::registry::AnyTypedState;
pub use self::snapshot::DedupSnapshot;

/// The state that the clones of a layer, and all services it makes, share.
#[derive(Default)]
pub(crate) struct DedupState {
    pub(crate) registry: Registry,
    pub(crate) cache_hits: Count,
    pub(crate) stale_hits: Count,
    pub(crate) refreshes: Count,
    pub(crate) bypassed: Count,
    pub(crate) panics: Count,
    /// Members of a flight that were answered with an entry.
    pub(crate) flight_hits: Count,
    /// Calls that ended before any other counter had them: rejected, or because of a panic.
    pub(crate) ended_early: Count,
    /// Counts of `leaders`, `followers` and `bypassed` that are not a call of their own: a follower that
    /// starts again or bypasses, and a refresh that found a flight.
    pub(crate) repeats: Count,
    /// The highest number of calls that a snapshot had.
    calls_shown: AtomicU64,
}

impl DedupState {
    /// Sums the numbers over all parts. No counter is taken for the number of calls: each call is in
    /// a single other counter when it starts, and the last two fields are the corrections.
    pub(crate) fn snapshot(&self) -> DedupSnapshot {
        let cache_hits = self.cache_hits.get();
        let mut snapshot = DedupSnapshot {
            bypassed: self.bypassed.get(),
            cache_hits: cache_hits + self.flight_hits.get(),
            stale_hits: self.stale_hits.get(),
            refreshes: self.refreshes.get(),
            panics: self.panics.get(),
            ..DedupSnapshot::default()
        };
        self.registry.typed_states().for_each(|typed_state| typed_state.add_to(&mut snapshot));
        let DedupSnapshot { leaders, followers, bypassed, refreshes, .. } = snapshot;
        let counted = leaders + followers + bypassed + cache_hits + self.ended_early.get();
        // Saturating, because calls go on between the loads: `repeats` may count a follower that
        // `followers` does not count yet.
        let calls = counted.saturating_sub(refreshes + self.repeats.get());
        // So the number is too low for a moment, and would fall without this.
        snapshot.calls = self.calls_shown.fetch_max(calls, Ordering::Relaxed).max(calls);
        snapshot
    }
}

impl fmt::Debug for DedupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DedupState").finish_non_exhaustive()
    }
}

/// A counter on a cache line of its own, so that two counters do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Count(AtomicU64);

impl Count {
    #[inline]
    pub(crate) fn add(&self) {
        // Relaxed: no other memory is published with a counter.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
