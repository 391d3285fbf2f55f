use std::{future::Future, sync::Arc};

use crate::CacheEntry;

/// Where answers are kept. The default is this process's own memory, [`Memory`](crate::Memory).
///
/// A store somewhere else answers in its own time: [`get`](Self::get) is a part of the flight, so that
/// one look serves all who wait. What it keeps must be made of `V`, and `V` of it.
///
/// If a read outlasts the deadline of a caller who waits for it, the store is in doubt: from then on the
/// service is called too when a read has taken 10 ms, until a read comes before the service's answer.
///
/// The layer knows only of what happens in its own process. A key that is forgotten here is
/// [`remove`](Self::remove)d, once or twice, and what was on its way from the store then is not given
/// out; a `put` of the same key that is under way must not outlive the `remove`. A request that
/// [changes](buttress_core::KeyOf::invalidates) a subject removes nothing: from then on, and for as long as
/// the layer lives, what the store makes again of this subject counts as older than the change and is not
/// given out here; other processes go on with it until its time is over.
pub trait Store<K, V>: Send + Sync + 'static {
    /// An answer on its way.
    type Fetch: Future<Output = Option<Arc<CacheEntry<V>>>> + Send + 'static;

    /// The answer that is at hand, without any waiting. It is asked at each call.
    fn get(&self, key: &K) -> Option<Arc<CacheEntry<V>>>;

    /// The answer that is further away; `None` if there is no such place.
    fn fetch(&self, key: &K) -> Option<Self::Fetch>;

    /// Keeps an answer, in the store's own time, for as long as its [`lifetime`](CacheEntry::lifetime) says.
    fn insert(&self, key: K, entry: Arc<CacheEntry<V>>);

    /// Forgets an answer.
    fn remove(&self, key: &K);

    /// Forgets all answers.
    fn clear(&self);

    /// How many answers are at hand, and the bytes they take.
    fn size(&self) -> (usize, u64);
}

/// How a store is made for the keys and the answers of one service.
pub trait OpenStore<K, V>: Clone + Send + Sync + 'static {
    /// The store.
    type Store: Store<K, V>;

    /// Opens it.
    fn open(&self) -> Self::Store;
}
