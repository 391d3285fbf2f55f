use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use buttress_core::Deadline;

/// The options of a [`SharedCache`](crate::SharedCache) that can change while the layer runs.
#[derive(Debug)]
pub(super) struct Limits {
    local_ttl: AtomicU64,
    max_value: AtomicUsize,
    max_wait: AtomicU64,
}

impl Limits {
    #[cfg(feature = "shared-cache")]
    pub(super) fn new(local_ttl: Duration, max_value: usize, max_wait: Duration) -> Self {
        Self {
            local_ttl: AtomicU64::new(bounded(local_ttl)),
            max_value: AtomicUsize::new(max_value),
            max_wait: AtomicU64::new(bounded(max_wait)),
        }
    }

    // Relaxed everywhere: each number stands for itself.

    pub(super) fn local_ttl(&self) -> Duration {
        Duration::from_nanos(self.local_ttl_nanos())
    }

    /// In nanoseconds, because each hit compares this time.
    #[inline]
    pub(super) fn local_ttl_nanos(&self) -> u64 {
        self.local_ttl.load(Ordering::Relaxed)
    }

    pub(super) fn max_value(&self) -> usize {
        self.max_value.load(Ordering::Relaxed)
    }

    pub(super) fn max_wait(&self) -> Duration {
        Duration::from_nanos(self.max_wait.load(Ordering::Relaxed))
    }
}

/// Nanoseconds, at most thirty years.
fn bounded(time: Duration) -> u64 {
    u64::try_from(time.min(Deadline::NEVER).as_nanos()).unwrap_or(u64::MAX)
}

/// The options of a [`SharedCache`](crate::SharedCache) that can change while calls run: of the cache,
/// of its clones, and of all layers that use them.
#[derive(Clone)]
pub struct SharedCacheHandle(pub(super) Arc<Limits>);

impl SharedCacheHandle {
    /// Returns how long this process serves an entry before it asks the store again.
    pub fn local_ttl(&self) -> Duration {
        self.0.local_ttl()
    }

    /// Sets how long this process serves an entry before it asks the store again, as
    /// [`SharedCache::local_ttl`](crate::SharedCache::local_ttl) does. Entries in memory follow at once.
    pub fn set_local_ttl(&self, ttl: Duration) {
        self.0.local_ttl.store(bounded(ttl), Ordering::Relaxed);
    }

    /// Returns the maximum bytes of a value in the store.
    pub fn max_value(&self) -> usize {
        self.0.max_value()
    }

    /// Sets the maximum bytes of a value in the store, as
    /// [`SharedCache::max_value`](crate::SharedCache::max_value) does. Values in the store stay.
    pub fn set_max_value(&self, bytes: usize) {
        self.0.max_value.store(bytes, Ordering::Relaxed);
    }

    /// Returns the longest time for which a call waits for the call of another replica.
    pub fn max_wait(&self) -> Duration {
        self.0.max_wait()
    }

    /// Limits the time for which a call waits for the call of another replica, as
    /// [`SharedCache::max_wait`](crate::SharedCache::max_wait) does. Calls that wait keep their limit.
    pub fn set_max_wait(&self, wait: Duration) {
        self.0.max_wait.store(bounded(wait), Ordering::Relaxed);
    }
}

/// Prints the options.
impl fmt::Debug for SharedCacheHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedCacheHandle")
            .field("local_ttl", &self.local_ttl())
            .field("max_value", &self.max_value())
            .field("max_wait", &self.max_wait())
            .finish()
    }
}
