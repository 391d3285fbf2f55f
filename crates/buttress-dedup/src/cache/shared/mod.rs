//! A cache and a flight for a fleet: process memory in front, a store that replicas share behind.

mod conversation;
mod encoding;
mod fetch;
mod lease;
mod outage;
mod owed;
mod patience;
mod payment;
mod place;
mod remote;
mod store;

use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use buttress_core::{Codec, StoreKey};
use buttress_state::FlightStore;

use self::{remote::Remote, store::SharedStore};
use crate::{
    CachedOutcome, Memory, OpenStore,
    cache::{
        shared_handle::{Limits, SharedCacheHandle},
        store::MemoryStore,
    },
};

/// A store for the replicas of a fleet: they share cache entries, and one of them makes a call that
/// all need.
///
/// Entries lie in the memory of the process for a [short time](Self::local_ttl), and in the fleet's
/// store for their lifetime. Callers of a process are coalesced first, so a trip to the store serves
/// all of them. A [`Codec`] writes the responses as bytes.
///
/// ```
/// use std::time::Duration;
/// use buttress_core::Codec;
/// use buttress_dedup::{Cache, DedupLayer, SharedCache};
/// # use buttress_testkit::FakeStore;
/// # use bytes::Bytes;
///
/// #[derive(Clone)]
/// struct Text;
///
/// impl Codec<String> for Text {
///     const ID: u32 = 1;
///     fn encode(&self, value: &String, out: &mut Vec<u8>, max: usize) -> bool {
///         out.extend_from_slice(value.as_bytes());
///         value.len() <= max
///     }
///     fn decode(&self, bytes: Bytes) -> Option<String> {
///         String::from_utf8(bytes.to_vec()).ok()
///     }
/// }
///
/// # let flights = FakeStore::new();
/// // `flights`: for example `Redis::flights()` of `buttress-redis`.
/// let shared = SharedCache::new(flights, Text).local_ttl(Duration::from_millis(500));
/// let cache = Cache::new(Duration::from_secs(60)).store(shared);
/// let layer = DedupLayer::keyed(|id: &u32| Some(*id)).cache(cache).named("users");
/// ```
///
/// # Names
///
/// Replicas share what has the same [instance name](crate::DedupLayer::named), the same key and the
/// same namespace of the store. Give each layer a name, unless its keys say which service responds,
/// as those of `Http` do. The key must be a [`StoreKey`]. Services of one layer share the fleet's
/// entries also with [`per_service`](crate::DedupLayer::per_service).
///
/// # Promises
///
/// While the store answers, a missed key costs one call in the fleet. A leader that dies costs at
/// most the lease of the store's lock, and another call. A lock ends with its lease, so this is not
/// mutual exclusion: two replicas may make the same call. The lease is an option of the store.
///
/// No failure of the store fails a call. While the store is away, each replica makes its own calls,
/// coalesced as without a fleet, and memory serves within `local_ttl`.
///
/// # Invalidation
///
/// [`DedupHandle::invalidate`](crate::DedupHandle::invalidate) and a successful unsafe request
/// invalidate the key in the fleet, together with all keys of its
/// [resource](buttress_core::KeyOf::resource). From then on, this replica serves no older entry.
/// Others stop within `local_ttl`. While the store is away, invalidations wait for it. If more than
/// 1,024 wait, all entries of the store are invalidated instead. A process knows the type of the keys
/// from its first call on: `invalidate` returns false before, and tells the store nothing.
///
/// # Security
///
/// An entry whose key [holds credentials](StoreKey::holds_credentials) stays in the memory of the
/// process, unless [`credentials`](Self::credentials) is set. The store has a hash of the key, and
/// the response in plain bytes. A value must pass checks of its length, version, checksum, codec and
/// key. The checksum finds damage, not forgery: a party that can write to the store can forge
/// entries.
#[doc(alias("distributed cache", "redis", "fleet", "L2 cache"))]
pub struct SharedCache<F, C> {
    store: F,
    codec: C,
    memory: Memory,
    stores_credentials: bool,
    limits: Arc<Limits>,
}

impl<F, C> SharedCache<F, C> {
    /// Creates a cache on the fleet's `store`. `codec` writes and reads its values.
    pub fn new(store: F, codec: C) -> Self {
        Self {
            store,
            codec,
            memory: Memory::default(),
            stores_credentials: false,
            limits: Arc::new(Limits::new(
                Duration::from_secs(1),
                256 << 10,
                Duration::from_secs(5),
            )),
        }
    }

    /// Sets the bounds of the memory in this process. Default: 10,000 entries and 64 MiB.
    pub fn memory(self, memory: Memory) -> Self {
        Self { memory, ..self }
    }

    /// Sets how long this process serves an entry before it asks the store again. Default: 1 s. With
    /// 0, each call asks the store, and concurrent calls share a trip.
    ///
    /// For so long, a replica may serve an entry that another replica has invalidated.
    pub fn local_ttl(self, ttl: Duration) -> Self {
        let limits = Limits::new(ttl, self.limits.max_value(), self.limits.max_wait());
        Self { limits: Arc::new(limits), ..self }
    }

    /// Sets the maximum bytes of a value in the store. Default: 256 KiB. If a response takes more,
    /// each replica makes its own call for 1 s.
    pub fn max_value(self, bytes: usize) -> Self {
        let limits = Limits::new(self.limits.local_ttl(), bytes, self.limits.max_wait());
        Self { limits: Arc::new(limits), ..self }
    }

    /// Limits the time for which a call waits for the call of another replica. Default: 5 s. Then the
    /// replica makes a call of its own. A caller waits no longer than its deadline. With 0, a call waits
    /// for no other replica, and still reads the store.
    pub fn max_wait(self, wait: Duration) -> Self {
        let limits = Limits::new(self.limits.local_ttl(), self.limits.max_value(), wait);
        Self { limits: Arc::new(limits), ..self }
    }

    /// Stores entries whose key [holds credentials](StoreKey::holds_credentials) in the fleet's store
    /// too. Default: they stay in the memory of the process, as without a fleet.
    ///
    /// The response lies in the store in plain bytes. Callers with other credentials have another key.
    pub fn credentials(self) -> Self {
        Self { stores_credentials: true, ..self }
    }

    /// Returns the handle that changes [`local_ttl`](Self::local_ttl), [`max_value`](Self::max_value)
    /// and [`max_wait`](Self::max_wait) while calls run.
    pub fn handle(&self) -> SharedCacheHandle {
        SharedCacheHandle(Arc::clone(&self.limits))
    }
}

impl<F: Clone, C: Clone> Clone for SharedCache<F, C> {
    fn clone(&self) -> Self {
        let Self { store, codec, limits, .. } = self;
        let (store, codec, limits) = (store.clone(), codec.clone(), Arc::clone(limits));
        let Self { memory, stores_credentials, .. } = *self;
        Self { store, codec, memory, stores_credentials, limits }
    }
}

impl<F, C> fmt::Debug for SharedCache<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedCache")
            .field("memory", &self.memory)
            .field("local_ttl", &self.limits.local_ttl())
            .field("max_value", &self.limits.max_value())
            .field("max_wait", &self.limits.max_wait())
            .field("credentials", &self.stores_credentials)
            .finish_non_exhaustive()
    }
}

impl<K, R, E, F, C> OpenStore<K, CachedOutcome<R, E>> for SharedCache<F, C>
where
    K: StoreKey + Hash + Eq + Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
    E: Send + Sync + 'static,
    F: FlightStore,
    C: Codec<R>,
{
    type Store = SharedStore<K, R, E, F, C>;

    fn open(&self, instance: &str) -> Self::Store {
        let remote = Remote::new(self.store.clone(), instance, Arc::clone(&self.limits));
        let (codec, memory) = (self.codec.clone(), MemoryStore::new(self.memory));
        SharedStore::new(memory, Arc::new(remote), codec, self.stores_credentials)
    }
}
