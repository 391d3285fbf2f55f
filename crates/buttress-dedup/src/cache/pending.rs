use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use buttress_control::Random;
use buttress_core::Lifetime;
use tokio::time::Instant;

use super::{
    CacheControls, CacheWrite, KeyInfo, ValidFlag,
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
pub struct CachePlan<K, V, St, X, J> {
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
}

impl<K: Clone, V, St, X, J> CachePlan<K, V, St, X, J> {
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

    /// The write of a result that arrived at `made`. `None` if the result could never be served.
    pub(crate) fn pending_write(
        &self,
        lifetime: Lifetime,
        made: Instant,
    ) -> Option<PendingWrite<K, St>> {
        let windows = lifetime.stale_while_revalidate.max(lifetime.stale_if_error);
        let total = lifetime.fresh.saturating_add(windows);
        if total.is_zero() {
            return None;
        }
        Some(PendingWrite {
            state: Arc::clone(&self.state),
            key: self.key.clone(),
            info: self.info,
            resource_generation: self.resource_generation,
            valid: Arc::clone(&self.valid),
            made,
            took: made.saturating_duration_since(self.began),
            lifetime,
        })
    }
}

/// Writes a result to the cache, if it may be cached.
pub struct CacheWriter<K, St>(pub(crate) Option<PendingWrite<K, St>>);

/// A write that waits for the end of the response.
pub(crate) struct PendingWrite<K, St> {
    state: Arc<CacheState<St>>,
    key: K,
    info: KeyInfo,
    resource_generation: ResourceGeneration,
    valid: ValidFlag,
    /// When the result arrived. A response in progress ages from then on.
    made: Instant,
    took: Duration,
    lifetime: Lifetime,
}

impl<K, St> PendingWrite<K, St> {
    /// Whether neither the key nor the resource was invalidated since the flight began.
    fn is_valid(&self) -> bool {
        // Both are checked, with Acquire, as in `CachePlan::is_valid`. `write` calls this before and after
        // the insert.
        self.valid.load(Ordering::Acquire)
            && self.resource_generation == self.state.invalidations.generation(self.info.resource)
    }
}

impl<K, V, St> CacheWrite<V> for CacheWriter<K, St>
where
    K: Clone + Send + Sync + 'static,
    St: Store<K, V>,
{
    const NOTHING: Self = Self(None);

    fn will_write(&self) -> bool {
        self.0.is_some()
    }

    fn write(&self, value: impl FnOnce() -> (V, usize)) -> bool {
        let Some(pending) = self.0.as_ref().filter(|pending| pending.is_valid()) else {
            return false;
        };
        let PendingWrite { state, key, info, resource_generation, valid, made, took, lifetime } =
            pending;
        // Runs code of the user, so no lock is held here. A panic ends in `Flight::store_and_remove`,
        // before the store has changed.
        let (value, weight) = value();
        let weight = weight.saturating_add(info.weight);
        let entry = CacheEntry::made_at(*made, value, *lifetime, *took, weight);
        let entry = entry.valid_while(*resource_generation, Arc::clone(valid));
        state.store.insert(key.clone(), Arc::new(entry), None);
        // Checked again after the insert: an `invalidate` in between cleared the flag, but its `remove`
        // may have come before the insert. The store orders its two calls: either `remove` finds the
        // entry, or this check finds the flag cleared. The removal may hit a newer entry, which costs a
        // miss.
        if !pending.is_valid() {
            state.store.remove(key, info.resource);
        }
        // True after the removal too: a needless `bump_generation` only makes calls look again.
        true
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
}
