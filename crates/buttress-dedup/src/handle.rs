use std::{any::Any, fmt, sync::Arc};

use buttress_core::Origin;

use crate::{
    DedupSnapshot,
    settings::{Caching, Keys, Settings},
    state::{AnyTypedState, DedupState},
};

/// The counters of a [`DedupLayer`](crate::DedupLayer), and invalidation of its flights and entries.
#[derive(Clone)]
pub struct DedupHandle {
    pub(crate) origin: Origin,
    keys: Keys,
    caching: Caching,
    state: Arc<DedupState>,
}

impl DedupHandle {
    pub(crate) fn new(settings: &Settings, state: &Arc<DedupState>) -> Self {
        let Settings { origin, keys, caching, .. } = settings;
        let (origin, state) = (origin.clone(), Arc::clone(state));
        Self { origin, keys: *keys, caching: *caching, state }
    }

    /// Whether the layer caches responses.
    pub fn has_cache(&self) -> bool {
        self.caching == Caching::On
    }

    /// Whether a call has opened a store that several processes share.
    pub(crate) fn has_coordinated_store(&self) -> bool {
        self.state.registry.typed_states().any(AnyTypedState::has_coordinated_store)
    }

    /// Whether the layer was given a key, and does not take that of the mode.
    pub fn is_keyed(&self) -> bool {
        self.keys == Keys::Given
    }

    /// Removes the entry of `key`, and keeps the result of a call in flight out of the cache. That result
    /// still goes to the callers that wait for it already. The next call of the key starts a new flight.
    ///
    /// If the call in flight fails, [`stale_if_error`](crate::Cache::stale_if_error) still lets those callers
    /// have the entry that the call found when it began.
    ///
    /// A store that several processes [share](crate::Store::IS_COORDINATED) may remove all entries of the key's
    /// resource, for all of them.
    ///
    /// `key` must have exactly the type of the layer's keys: a `String`, not a `&str`. Returns false if no
    /// call so far had a key of that type. In `Http` mode the type is `HttpKey`, which the mode makes of a
    /// request. Another user or another method makes another key.
    #[doc(alias("forget", "purge", "evict"))]
    pub fn invalidate<K: Any>(&self, key: &K) -> bool {
        self.state
            .registry
            .typed_states()
            .fold(false, |known, typed_state| typed_state.invalidate(key) | known)
    }

    /// Removes all entries, and keeps the results of all calls in flight out of the cache.
    ///
    /// Those results still go to the callers that wait for them already. The next call of each key starts a
    /// new flight.
    pub fn invalidate_all(&self) {
        self.state.registry.typed_states().for_each(AnyTypedState::invalidate_all);
    }

    /// Returns the number of calls. A call that starts again counts once, and a background refresh does
    /// not count.
    pub fn calls(&self) -> u64 {
        self.snapshot().calls
    }

    /// Returns the number of inner calls that a caller can join: at most a single call for each key. Invalidated
    /// and replaced flights do not count. A flight whose body has failed, or is too long for new callers,
    /// counts until the first of its callers leaves.
    pub fn in_flight(&self) -> usize {
        self.snapshot().in_flight
    }

    /// Returns the number of callers that wait for these inner calls, or read their responses.
    pub fn waiters(&self) -> usize {
        self.snapshot().waiters
    }

    /// Returns the number of calls and background refreshes that started a flight.
    pub fn leaders(&self) -> u64 {
        self.snapshot().leaders
    }

    /// Returns the number of calls that joined a flight, and of background refreshes that found a flight.
    pub fn followers(&self) -> u64 {
        self.snapshot().followers
    }

    /// Returns the number of flights that continued after their leader had left.
    pub fn handovers(&self) -> u64 {
        self.snapshot().handovers
    }

    /// Returns the number of calls that bypassed deduplication, because they had no key or the result
    /// could not be shared.
    pub fn bypassed(&self) -> u64 {
        self.state.bypassed.get()
    }

    /// Returns the number of calls that were answered with an entry.
    pub fn cache_hits(&self) -> u64 {
        self.state.cache_hits.get() + self.state.flight_hits.get()
    }

    /// Returns the number of cache hits whose entry was stale.
    pub fn stale_hits(&self) -> u64 {
        self.state.stale_hits.get()
    }

    /// Returns the number of background refreshes that were started.
    pub fn refreshes(&self) -> u64 {
        self.state.refreshes.get()
    }

    /// Returns the number of panics that callers met.
    pub fn panics(&self) -> u64 {
        self.state.panics.get()
    }

    /// Returns the number of entries, including entries that a change has invalidated. Removes expired
    /// entries first.
    pub fn cache_entries(&self) -> usize {
        self.snapshot().cache_entries
    }

    /// Returns the bytes that the entries take.
    pub fn cache_bytes(&self) -> u64 {
        self.snapshot().cache_bytes
    }

    /// Returns all numbers at once. Calls may run in between, so the numbers need not agree.
    pub fn snapshot(&self) -> DedupSnapshot {
        self.state.snapshot()
    }
}

impl fmt::Debug for DedupHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DedupHandle").field(&self.snapshot()).finish()
    }
}
