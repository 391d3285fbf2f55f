use std::{any::Any, sync::Arc};

use super::{Call, Config, Controls, SharedConfig, result::FlightResult, work::Work};
use crate::{
    cache::{CacheControls, CachePolicy},
    flight::{Flight, FlightTable},
    key::KeySource,
    state::{AnyTypedState, DedupSnapshot},
};

/// The flights and the cache of a layer, for a type of service and request.
pub(crate) struct TypedState<C: Call> {
    pub(crate) flights: Arc<CallFlights<C>>,
    pub(crate) cache: Arc<Controls<C>>,
    /// Tell the cache the resource of a key. `None` without a cache.
    keys: Option<(C::Keys, C::Mode)>,
}

impl<C: Call> TypedState<C> {
    pub(crate) fn new(config: &Config<C>) -> Self {
        let SharedConfig { policy, settings, .. } = &*config.shared;
        Self {
            flights: Arc::new(FlightTable::new()),
            cache: Arc::new(policy.open(settings.origin.name())),
            keys: C::Cache::CACHES.then(|| (config.keys.clone(), config.mode.clone())),
        }
    }
}

impl<C: Call> AnyTypedState for TypedState<C> {
    fn add_to(&self, snapshot: &mut DedupSnapshot) {
        let (in_flight, waiters) = self.flights.in_flight();
        let (leaders, followers) = self.flights.counts();
        let (cache_entries, cache_bytes) = self.cache.size();
        snapshot.in_flight += in_flight;
        snapshot.waiters += waiters;
        snapshot.leaders += leaders;
        snapshot.followers += followers;
        snapshot.handovers += self.flights.handovers();
        snapshot.cache_entries += cache_entries;
        snapshot.cache_bytes += cache_bytes;
        if let Some(counts) = self.cache.store_counts() {
            snapshot.add_store(counts);
        }
    }

    fn invalidate(&self, key: &dyn Any) -> bool {
        let Some(key) = key.downcast_ref::<C::Key>() else { return false };
        let resource = self.keys.as_ref().and_then(|(keys, mode)| keys.resource(mode, key));
        // Order matters: first the flights, so that no result is written after this, then the cache. A result
        // written in between is found in the cache and removed.
        self.flights.invalidate(key);
        self.cache.invalidate(key, resource);
        // A flight may have begun in between with the removed entry as its fallback. The new generation makes
        // calls between lookup and start look again, and the second `invalidate` removes the flight.
        self.flights.bump_generation();
        self.flights.invalidate(key);
        true
    }

    fn invalidate_resource(&self, resource: u64) {
        // The flights stay in the table: `Flight::join` compares their generation with the new one.
        self.cache.invalidate_resource(resource);
    }

    fn invalidate_all(&self) {
        // The same order as in `invalidate`, for the same reasons.
        self.flights.invalidate_all();
        self.cache.invalidate_all();
        self.flights.bump_generation();
        self.flights.invalidate_all();
    }

    fn has_coordinated_store(&self) -> bool {
        self.cache.store_counts().is_some()
    }
}

// No call is in flight any more, because each holds the layer that owns this state. The idle flights hold the
// table, and the table holds them: without this the cycle would leak.
impl<C: Call> Drop for TypedState<C> {
    fn drop(&mut self) {
        self.flights.drop_idle();
    }
}

pub(crate) type CallFlight<C> = Flight<<C as Call>::Key, Work<C>, FlightResult<C>>;
pub(crate) type CallFlights<C> = FlightTable<<C as Call>::Key, Work<C>, FlightResult<C>>;
