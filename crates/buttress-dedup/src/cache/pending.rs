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
    CacheControls, CacheWrite, KeyInfo,
    invalidations::{Invalidations, ResourceGeneration},
    valid_flag::ValidFlag,
};
use crate::{CacheEntry, Store};

/// Where the answers of one service are kept.
#[derive(Debug)]
pub struct CacheState<St> {
    pub(crate) store: St,
    pub(crate) invalidations: Invalidations,
    /// The store let a caller wait in vain, and has been slower than the service since.
    pub(crate) is_store_slow: AtomicBool,
    pub(crate) random: Random,
}

/// What a flight remembers, to keep its answer.
pub struct CachePlan<K, V, St, X, J> {
    pub(crate) state: Arc<CacheState<St>>,
    pub(crate) key: K,
    pub(crate) info: KeyInfo,
    /// How often the subject had changed when the flight began.
    pub(crate) resource_generation: ResourceGeneration,
    pub(crate) valid: ValidFlag,
    pub(crate) fallback: Option<Arc<CacheEntry<V>>>,
    pub(crate) began: Instant,
    pub(crate) expiry: X,
    pub(crate) verdict_seed: J,
}

impl<K: Clone, V, St, X, J> CachePlan<K, V, St, X, J> {
    pub(crate) fn is_valid(&self) -> bool {
        self.valid.load(Ordering::Acquire)
            && self.resource_generation == self.state.invalidations.generation(self.info.resource)
    }

    /// Whether its subject has not changed since.
    pub(crate) fn is_current(&self, entry: &CacheEntry<V>) -> bool {
        entry.resource_generation == self.state.invalidations.generation(self.info.resource)
    }

    /// What to do with an answer that came at the instant `made`, if it is to be kept.
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

/// Keeps an answer, if it is to be kept.
pub struct CacheWriter<K, St>(pub(crate) Option<PendingWrite<K, St>>);

/// How it is to be kept.
pub(crate) struct PendingWrite<K, St> {
    state: Arc<CacheState<St>>,
    key: K,
    info: KeyInfo,
    resource_generation: ResourceGeneration,
    valid: ValidFlag,
    /// When the answer came. What is on its way still grows older from then on.
    made: Instant,
    took: Duration,
    lifetime: Lifetime,
}

impl<K, St> PendingWrite<K, St> {
    /// Whether nobody had it forgotten before it was there, and its subject has not changed.
    fn is_valid(&self) -> bool {
        self.valid.load(Ordering::Acquire)
            && self.resource_generation == self.state.invalidations.generation(self.info.resource)
    }
}

impl<K, V, St> CacheWrite<V> for CacheWriter<K, St>
where
    K: Clone + Send + Sync + 'static,
    St: Store<K, V>,
{
    fn will_write(&self) -> bool {
        self.0.is_some()
    }

    fn write(&self, value: impl FnOnce() -> (V, usize)) -> bool {
        let Some(pending) = self.0.as_ref().filter(|pending| pending.is_valid()) else {
            return false;
        };
        let PendingWrite { state, key, info, resource_generation, valid, made, took, lifetime } =
            pending;
        let (value, weight) = value();
        let weight = weight.saturating_add(info.weight);
        let entry = CacheEntry::made_at(*made, value, *lifetime, *took, weight);
        let entry = entry.valid_while(*resource_generation, Arc::clone(valid));
        state.store.insert(key.clone(), Arc::new(entry));
        // Forgotten meanwhile, by one who did not find it there yet.
        if !pending.is_valid() {
            state.store.remove(key);
        }
        true
    }
}

impl<K, V, St> CacheControls<K, V> for CacheState<St>
where
    St: Store<K, V>,
{
    fn invalidate(&self, key: &K) {
        self.store.remove(key);
    }

    fn invalidate_resource(&self, resource: u64) {
        self.invalidations.add(resource);
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
