use std::{any::Any, fmt, sync::Arc};

use crate::{
    DedupSnapshot,
    state::{AnyTypedState, DedupState},
};

/// Live numbers of a layer's flights and of what it keeps, and the means to forget both.
#[derive(Clone)]
pub struct DedupHandle {
    state: Arc<DedupState>,
}

impl DedupHandle {
    pub(crate) const fn new(state: Arc<DedupState>) -> Self {
        Self { state }
    }

    /// Forgets the answer for `key`: what is kept, and what a call in flight will bring, which goes only
    /// to those who wait for it already. The next call of the key is a new one.
    ///
    /// The key must be of the very type that the layer's keys have, a `String` and no `&str`; false if no
    /// call so far had a key of that type. In `Http` mode it is an `HttpKey`, which the mode makes of a
    /// request: that of another user, or of another method, is another key.
    #[doc(alias("forget", "purge", "evict"))]
    pub fn invalidate<K: Any>(&self, key: &K) -> bool {
        self.state
            .registry
            .typed_states()
            .fold(false, |known, typed_state| typed_state.invalidate(key) | known)
    }

    /// The same for all keys.
    pub fn invalidate_all(&self) {
        self.state.registry.typed_states().for_each(AnyTypedState::invalidate_all);
    }

    /// Returns the number of calls.
    pub fn calls(&self) -> u64 {
        self.snapshot().calls
    }

    /// Calls of the service that are being made, one for each key: those that were forgotten do not count,
    /// nor do those that another one has replaced. A call whose body has failed or is too long for new
    /// callers counts until the first of its callers has left.
    pub fn in_flight(&self) -> usize {
        self.snapshot().in_flight
    }

    /// Callers who wait for those, or read their responses.
    pub fn waiters(&self) -> usize {
        self.snapshot().waiters
    }

    /// Callers who started a call of the service, and refreshes that did.
    pub fn leaders(&self) -> u64 {
        self.snapshot().leaders
    }

    /// Callers who joined a call that another had started, and refreshes that found one.
    pub fn followers(&self) -> u64 {
        self.snapshot().followers
    }

    /// Flights that went on without the caller who had started them.
    pub fn handovers(&self) -> u64 {
        self.snapshot().handovers
    }

    /// Callers who went alone: without a key, or because there was nothing to share.
    pub fn bypassed(&self) -> u64 {
        self.state.bypassed.get()
    }

    /// Callers who were answered with what was kept.
    pub fn cache_hits(&self) -> u64 {
        self.state.cache_hits.get() + self.state.flight_hits.get()
    }

    /// Those of them who got an answer that had outlived its time.
    pub fn stale_hits(&self) -> u64 {
        self.state.stale_hits.get()
    }

    /// Refreshes that were started.
    pub fn refreshes(&self) -> u64 {
        self.state.refreshes.get()
    }

    /// Calls that panicked.
    pub fn panics(&self) -> u64 {
        self.state.panics.get()
    }

    /// Answers that are kept, those that a change has outdated included. Forgets what is too old.
    pub fn cache_entries(&self) -> usize {
        self.snapshot().cache_entries
    }

    /// The bytes they take.
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
