use std::{future::Future, sync::Arc};

use crate::CacheEntry;

/// A place for cache entries. The default is [`Memory`](crate::Memory), in this process.
///
/// A remote store answers in its own time: [`fetch`](Self::fetch) is part of the flight, so a single read serves
/// all waiting callers. The store must be able to save a `V`, and to make the `V` again.
///
/// If a read outlasts the deadline of a caller that waits for it, the store is marked as slow. From then
/// on, the service is called as well when a read has taken 10 ms. The mark is removed once a read ends
/// before the service answers.
///
/// # Invalidation
///
/// The layer knows only about its own process.
///
/// - When a key is invalidated, the layer calls [`remove`](Self::remove) once or twice. Reads in progress
///   are not served. An [`insert`](Self::insert) of the same key in progress must not outlive the `remove`.
/// - A request that [changes](buttress_core::KeyOf::invalidates) a resource removes nothing. From then on,
///   for as long as the layer lives, entries of this resource that the store makes again count as older
///   than the change, and this process does not serve them. Other processes serve them until they expire.
///
/// # Panics
///
/// A panic of [`get`](Self::get) or [`fetch`](Self::fetch), or of the future of `fetch`, is handled as a
/// panic of the call. If [`insert`](Self::insert) panics, the response is not cached.
pub trait Store<K, V>: Send + Sync + 'static {
    /// A read of a remote store.
    type Fetch: Future<Output = Option<Arc<CacheEntry<V>>>> + Send + 'static;

    /// Returns the entry of `key` without waiting. The layer asks at each call.
    fn get(&self, key: &K) -> Option<Arc<CacheEntry<V>>>;

    /// Reads the entry of `key` from a remote place. `None` if the store has no such place.
    fn fetch(&self, key: &K) -> Option<Self::Fetch>;

    /// Inserts an entry, in the store's own time, for as long as its [`lifetime`](CacheEntry::lifetime).
    fn insert(&self, key: K, entry: Arc<CacheEntry<V>>);

    /// Removes the entry of `key`.
    fn remove(&self, key: &K);

    /// Removes all entries.
    fn clear(&self);

    /// Returns the number of entries that [`get`](Self::get) can return, and their bytes.
    fn size(&self) -> (usize, u64);
}

/// Opens a store for the keys and the entries of a service.
pub trait OpenStore<K, V>: Clone + Send + Sync + 'static {
    /// The store.
    type Store: Store<K, V>;

    /// Opens the store. The layer calls this once for each type of service and request.
    fn open(&self) -> Self::Store;
}
