use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use buttress_control::Random;
use buttress_core::Lifetime;
use buttress_state::sync::{Mutex, lock};
use tokio::time::Instant;

use super::{
    CacheControls, CacheWrite, KeyInfo, StoreCounts, ValidFlag,
    invalidations::{Invalidations, ResourceGeneration},
};
use crate::{CacheEntry, Store};

/// The cache of a service: the store, and the invalidations of resources.
#[derive(Debug)]
pub struct CacheState<St> {
    pub(crate) store: St,
    pub(crate) invalidations: Invalidations,
    /// A read of the store outlasted the deadline of a caller. False again once the store answers before
    /// the service.
    pub(crate) is_store_slow: AtomicBool,
    pub(crate) random: Random,
}

/// The state that a flight captures from its request, to write the result to the cache.
pub struct CachePlan<K, V, St: Store<K, V>, X, J> {
    pub(crate) state: Arc<CacheState<St>>,
    pub(crate) key: K,
    pub(crate) info: KeyInfo,
    /// The generation of the resource when the flight began.
    pub(crate) resource_generation: ResourceGeneration,
    pub(crate) valid: ValidFlag,
    pub(crate) fallback: Option<Arc<CacheEntry<V>>>,
    pub(crate) began: Instant,
    pub(crate) expiry: X,
    pub(crate) verdict_seed: J,
    /// The lease of a store that expects the result.
    pub(crate) lease: Option<St::Lease>,
    /// The store was asked again after an entry that could not be served.
    pub(crate) has_asked_again: bool,
}

impl<K: Clone, V, St: Store<K, V>, X, J> CachePlan<K, V, St, X, J> {
    /// Whether neither the key nor the resource was invalidated since the flight began.
    pub(crate) fn is_valid(&self) -> bool {
        // Both are checked: `TypedState::invalidate` clears the flag, and `invalidate_resource` changes
        // only the generation. Acquire pairs with `forbid_caching`.
        self.valid.load(Ordering::Acquire)
            && self.resource_generation == self.state.invalidations.generation(self.info.resource)
    }

    /// Whether the resource of `entry` has not changed since the entry was made.
    pub(crate) fn is_current(&self, entry: &CacheEntry<V>) -> bool {
        entry.resource_generation() == self.state.invalidations.generation(self.info.resource)
    }

    /// The writer of a result that arrived at `made`. The writer writes nothing if the result could never be
    /// served.
    pub(crate) fn writer(
        &mut self,
        lifetime: Option<Lifetime>,
        made: Instant,
    ) -> CacheWriter<K, St, St::Lease> {
        let is_ever_served = |lifetime: &Lifetime| {
            let windows = lifetime.stale_while_revalidate.max(lifetime.stale_if_error);
            !lifetime.fresh.saturating_add(windows).is_zero()
        };
        let lease = self.lease.take();
        let Some(lifetime) = lifetime.filter(is_ever_served) else {
            if let Some(lease) = lease {
                self.state.store.decline(&self.key, self.info.resource, lease);
            }
            return CacheWriter(None);
        };
        CacheWriter(Some(PendingWrite {
            state: Arc::clone(&self.state),
            key: self.key.clone(),
            resource: self.info.resource,
            key_weight: self.info.weight,
            resource_generation: self.resource_generation,
            valid: Arc::clone(&self.valid),
            made,
            took: made.saturating_duration_since(self.began),
            lifetime,
            lease: lease.map(|lease| Mutex::new(Some(lease))),
        }))
    }
}

/// Writes a result to the cache, if it may be cached.
pub struct CacheWriter<K, St, L>(pub(crate) Option<PendingWrite<K, St, L>>);

/// A write that waits for the end of the response.
pub(crate) struct PendingWrite<K, St, L> {
    state: Arc<CacheState<St>>,
    key: K,
    resource: Option<u64>,
    key_weight: usize,
    resource_generation: ResourceGeneration,
    valid: ValidFlag,
    /// When the result arrived. A response in progress ages from then on.
    made: Instant,
    took: Duration,
    lifetime: Lifetime,
    /// Taken once. `None` if no store expects the result. A leaf lock: no other lock is taken under it.
    lease: Option<Mutex<Option<L>>>,
}

impl<K, St, L> PendingWrite<K, St, L> {
    /// Whether neither the key nor the resource was invalidated since the flight began.
    fn is_valid(&self) -> bool {
        // Both are checked, with Acquire, as in `CachePlan::is_valid`. `write` calls this before and after
        // the insert.
        self.valid.load(Ordering::Acquire)
            && self.resource_generation == self.state.invalidations.generation(self.resource)
    }

    fn take_lease(&self) -> Option<L> {
        self.lease.as_ref().and_then(|lease| lock(lease).take())
    }
}

impl<K, V, St> CacheWrite<V> for CacheWriter<K, St, St::Lease>
where
    K: Clone + Send + Sync + 'static,
    St: Store<K, V>,
{
    const NOTHING: Self = Self(None);

    fn will_write(&self) -> bool {
        self.0.is_some()
    }

    fn write(&self, value: impl FnOnce() -> (V, usize)) -> bool {
        let Some(pending) = self.0.as_ref() else { return false };
        // Taken also if there is nothing to write, because other processes may wait for its end.
        let lease = pending.take_lease();
        if !pending.is_valid() {
            return false;
        }
        let PendingWrite { state, key, key_weight, resource_generation, valid, .. } = pending;
        let PendingWrite { made, took, lifetime, .. } = pending;
        // Runs code of the user, so no lock is held here. A panic ends in `Flight::store_and_remove`,
        // before the store has changed.
        let (value, weight) = value();
        let weight = weight.saturating_add(*key_weight);
        let entry = CacheEntry::made_at(*made, value, *lifetime, *took, weight);
        let entry = entry.valid_while(*resource_generation, Arc::clone(valid));
        state.store.insert(key.clone(), Arc::new(entry), lease);
        // Checked again after the insert: an `invalidate` in between cleared the flag, but its `remove`
        // may have come before the insert. The store orders its two calls: either `remove` finds the
        // entry, or this check finds the flag cleared. The removal may hit a newer entry, which costs a
        // miss.
        if !pending.is_valid() {
            state.store.remove(key, pending.resource);
        }
        // True after the removal too: a needless `bump_generation` only makes calls look again.
        true
    }

    fn decline(&self) {
        if let Some(pending) = &self.0
            && let Some(lease) = pending.take_lease()
        {
            pending.state.store.decline(&pending.key, pending.resource, lease);
        }
    }

    fn abandon(&self) {
        drop(self.0.as_ref().and_then(PendingWrite::take_lease));
    }
}

impl<K, V, St> CacheControls<K, V> for CacheState<St>
where
    St: Store<K, V>,
{
    fn invalidate(&self, key: &K, resource: Option<u64>) {
        // `TypedState::invalidate` has cleared the flags of the flights before. In the other order,
        // `CacheWriter::write` could insert after this removal.
        self.store.remove(key, resource);
    }

    fn invalidate_resource(&self, resource: u64) {
        // The entries stay in the store: `Cache::lookup` compares their generation with this counter.
        self.invalidations.add(resource);
        self.store.invalidate_resource(resource);
        if St::IS_COORDINATED {
            // A read that began in between may have brought an older entry, as of the generation before.
            self.invalidations.add(resource);
        }
    }

    #[inline]
    fn has_changed(&self) -> bool {
        self.invalidations.has_any()
    }

    #[inline]
    fn resource_generation(&self, resource: Option<u64>) -> ResourceGeneration {
        self.invalidations.generation(resource)
    }

    fn invalidate_all(&self) {
        self.store.clear();
    }

    fn size(&self) -> (usize, u64) {
        self.store.size()
    }

    fn store_counts(&self) -> Option<StoreCounts> {
        self.store.counts()
    }
}
