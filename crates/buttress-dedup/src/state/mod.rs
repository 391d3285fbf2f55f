use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use self::registry::Registry;

mod registry;

pub(crate) use self::registry::{AnyTypedState, Numbers};

/// What all clones of a layer, and all services it makes, have in common.
#[derive(Default)]
pub(crate) struct DedupState {
    pub(crate) registry: Registry,
    pub(crate) cache_hits: Count,
    pub(crate) stale_hits: Count,
    pub(crate) refreshes: Count,
    pub(crate) bypassed: Count,
    pub(crate) panics: Count,
}

impl fmt::Debug for DedupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DedupState").finish_non_exhaustive()
    }
}

/// A count on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Count(AtomicU64);

impl Count {
    #[inline]
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
