use std::{future::Future, sync::Arc};

use tokio::time::Instant;

use crate::CacheEntry;

mod counts;
mod fetched;
mod hashed_key;
mod maybe_shared;
mod memory;

#[cfg(feature = "shared-cache")]
pub(crate) use self::memory::MemoryStore;
pub use self::{
    counts::StoreCounts,
    fetched::{Fetched, Intent},
    maybe_shared::MaybeShared,
    memory::Memory,
};

/// A place for cache entries. The default is [`Memory`](crate::Memory), in this process.
///
/// A remote store answers in its own time: [`fetch`](Self::fetch) is part of the flight, so a single read serves
/// all waiting callers. The store must be able to save a `V`, and to make the `V` again.
///
/// If a read outlasts the deadline of a caller that waits for it, the store is marked as slow. From then
/// on, the service is called as well when a read has taken 10 ms. The mark is removed once a read ends
/// before the service answers. A [coordinated](Self::IS_COORDINATED) store is never marked, because a read
/// there may wait for the call of another process. Only the next flight of the same key gives that read 10 ms.
///
/// A hit may be stale as far as a local entry may be: callers are answered, and a background refresh asks the
/// store with [`Intent::Refresh`]. An entry that may only be served in place of a failure is kept for that.
///
/// # Leases
///
/// A store may answer that this process [leads](Fetched::Lead): the layer then makes the call, and callers of
/// other processes may wait for the result. The lease lies in the flight until the response is complete, and
/// goes to [`insert`](Self::insert) with the result. If there is nothing to store, the lease is dropped before:
/// the call failed or was cancelled, the response may not be cached, or the key was invalidated.
///
/// # Invalidation
///
/// - When a key is invalidated, the layer calls [`remove`](Self::remove) once or twice. Reads in progress
///   are not served. An [`insert`](Self::insert) of the same key in progress must not outlive the `remove`.
/// - When a request [changes](buttress_core::KeyOf::invalidates) a resource, the layer calls
///   [`invalidate_resource`](Self::invalidate_resource). Unless the store is
///   [coordinated](Self::IS_COORDINATED), entries of this resource that the store makes again count as older
///   than the change for as long as the layer lives, and this process does not serve them. Other processes
///   serve them until they expire.
///
/// # Panics
///
/// A panic of [`get`](Self::get) or [`fetch`](Self::fetch), or of the future of `fetch`, is handled as a
/// panic of the call. If [`insert`](Self::insert) or [`keep`](Self::keep) panics, the response is not cached.
pub trait Store<K, V>: Send + Sync + 'static {
    /// The right to store the result of a call. Dropped before [`insert`](Self::insert): there will be no
    /// result.
    type Lease: Send + Sync + 'static;

    /// A read of a remote store.
    type Fetch: Future<Output = Fetched<V, Self::Lease>> + Send + 'static;

    /// Whether the store coordinates several processes. Such a store promises:
    ///
    /// - Each read ends in bounded time, also if it waits for the call of another process.
    /// - A read that begins after [`remove`](Self::remove), [`invalidate_resource`](Self::invalidate_resource)
    ///   or [`clear`](Self::clear) finds no entry that was made before.
    /// - A read holds no other reference to the entry that it returns.
    ///
    /// If such a store has only an entry that may not be served, the layer asks once more, with
    /// [`Intent::Refresh`] and that entry.
    const IS_COORDINATED: bool = false;

    /// Returns the entry of `key` without waiting. The layer asks at each call.
    fn get(&self, key: &K) -> Option<Arc<CacheEntry<V>>>;

    /// Whether an entry that [`get`](Self::get) has returned may be served at `now` without a
    /// [`fetch`](Self::fetch). Default: always.
    #[inline]
    fn holds(&self, entry: &CacheEntry<V>, now: Instant) -> bool {
        let _ = (entry, now);
        true
    }

    /// Reads the entry of `key` from a remote place. `None` if the store has no such place.
    ///
    /// `resource` is the [resource](buttress_core::KeyOf::resource) of the key, if there is one.
    fn fetch(&self, key: &K, resource: Option<u64>, intent: Intent<'_, V>) -> Option<Self::Fetch>;

    /// Keeps an entry in this process that a [`fetch`](Self::fetch) has found and that the layer serves.
    ///
    /// Such an entry is as valid as the result of a call, so [`get`](Self::get) may return it. The layer
    /// removes the entry if the key was invalidated meanwhile. Default: does nothing.
    fn keep(&self, key: &K, entry: &Arc<CacheEntry<V>>) {
        let _ = (key, entry);
    }

    /// Inserts an entry, in the store's own time, for as long as its [`lifetime`](CacheEntry::lifetime).
    ///
    /// `lease` is that of the [`Lead`](Fetched::Lead) before the call. Without one, the store has not asked
    /// for the result.
    fn insert(&self, key: K, entry: Arc<CacheEntry<V>>, lease: Option<Self::Lease>);

    /// Gives back the lease of a call whose response may not be stored: callers of other processes need not
    /// wait for it. A call that fails drops its lease instead. Default: drops the lease.
    fn decline(&self, key: &K, resource: Option<u64>, lease: Self::Lease) {
        let _ = (key, resource);
        drop(lease);
    }

    /// Removes the entry of `key`, whose resource is `resource`.
    fn remove(&self, key: &K, resource: Option<u64>);

    /// Removes the entries of a resource that a request has changed. Default: does nothing.
    fn invalidate_resource(&self, resource: u64) {
        let _ = resource;
    }

    /// Removes all entries.
    fn clear(&self);

    /// Returns the number of entries that [`get`](Self::get) can return, and their bytes.
    fn size(&self) -> (usize, u64);

    /// Returns the numbers of a store that several processes share. Default: `None`, for any other store.
    fn counts(&self) -> Option<StoreCounts> {
        None
    }
}

/// Opens a store for the keys and the entries of a service.
pub trait OpenStore<K, V>: Clone + Send + Sync + 'static {
    /// The store.
    type Store: Store<K, V>;

    /// Opens the store of the layer that is [named](crate::DedupLayer::named) `instance`. The layer calls
    /// this once for each type of service and request.
    fn open(&self, instance: &str) -> Self::Store;
}
