use std::{
    future::Future,
    hash::BuildHasher,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use buttress_benches::{Coalescer, Source, SourceError};
use futures_util::{
    FutureExt,
    future::{Shared, WeakShared},
};
use hashbrown::{DefaultHashBuilder, HashMap};
use tower::{Service, service_fn};

/// A [`Shared`] per key in a sharded map, as written by hand.
///
/// The map holds a weak reference, so a call is dropped with its last caller. The key of such a call
/// stays in the map.
pub(crate) fn dedup() -> Coalescer {
    Coalescer::new("futures `Shared` in a sharded map, by hand", |inner| {
        let flights = Arc::new(Flights::default());
        service_fn(move |key| Flights::join(&flights, key, || inner.clone()))
    })
}

#[derive(Default)]
struct Flights {
    hasher: DefaultHashBuilder,
    shards: [Shard; SHARDS],
}

impl Flights {
    fn join(self: &Arc<Self>, key: u64, inner: impl FnOnce() -> Source) -> Shared<Boxed> {
        let mut shard = self.shard(key);
        if let Some(flight) = shard.get(&key).and_then(WeakShared::upgrade) {
            return flight;
        }
        let call = inner().call(key);
        let flights = Arc::clone(self);
        let work = async move {
            let outcome = call.await;
            flights.shard(key).remove(&key);
            outcome
        };
        let flight = (Box::pin(work) as Boxed).shared();
        if let Some(weak) = flight.downgrade() {
            shard.insert(key, weak);
        }
        flight
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, HashMap<u64, WeakShared<Boxed>>> {
        let [first, ..] = &self.shards;
        // The map of a shard uses the lowest bits and the highest seven, so pick the shard by other bits.
        let shard = usize::try_from(self.hasher.hash_one(key) >> 48).unwrap_or_default() % SHARDS;
        let shard = self.shards.get(shard).unwrap_or(first);
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Shard = Mutex<HashMap<u64, WeakShared<Boxed>, DefaultHashBuilder>>;
type Boxed = Pin<Box<dyn Future<Output = Result<u64, SourceError>> + Send>>;

const SHARDS: usize = 16;
