//! Calls in the midst of an invalidation.

use std::sync::{Arc, Mutex};

use buttress_core::KeyOf;
use buttress_dedup::{
    CacheEntry, CachedOutcome, DedupLayer, Intent, OpenStore, SharedCache, Store, StoreCounts,
};
use buttress_testkit::{FakeStore, TestError};
use futures_util::FutureExt;
use tokio::time::Instant;
use tower::ServiceExt;

use crate::{
    replicas::{Numbers, settle},
    source::{Source, exactly, s},
};

type Value = CachedOutcome<u32, TestError>;
type Shared = SharedCache<FakeStore, Numbers>;
type SharedStore = <Shared as OpenStore<u32, Value>>::Store;
type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// A shared cache that calls a hook before it hears of a change.
#[derive(Clone)]
struct Hooked<T>(T, Hook);

impl OpenStore<u32, Value> for Hooked<Shared> {
    type Store = Hooked<SharedStore>;

    fn open(&self, instance: &str) -> Self::Store {
        Hooked(OpenStore::<u32, Value>::open(&self.0, instance), Arc::clone(&self.1))
    }
}

impl Store<u32, Value> for Hooked<SharedStore> {
    type Lease = <SharedStore as Store<u32, Value>>::Lease;
    type Fetch = <SharedStore as Store<u32, Value>>::Fetch;

    const IS_COORDINATED: bool = true;

    fn get(&self, key: &u32) -> Option<Arc<CacheEntry<Value>>> {
        self.0.get(key)
    }

    fn holds(&self, entry: &CacheEntry<Value>, now: Instant) -> bool {
        self.0.holds(entry, now)
    }

    fn fetch(
        &self,
        key: &u32,
        resource: Option<u64>,
        intent: Intent<'_, Value>,
    ) -> Option<Self::Fetch> {
        self.0.fetch(key, resource, intent)
    }

    fn keep(&self, key: &u32, entry: &Arc<CacheEntry<Value>>) {
        self.0.keep(key, entry);
    }

    fn insert(&self, key: u32, entry: Arc<CacheEntry<Value>>, lease: Option<Self::Lease>) {
        self.0.insert(key, entry, lease);
    }

    fn remove(&self, key: &u32, resource: Option<u64>) {
        self.0.remove(key, resource);
    }

    fn invalidate_resource(&self, resource: u64) {
        let hook = self.1.lock().unwrap().take();
        if let Some(hook) = hook {
            hook();
        }
        self.0.invalidate_resource(resource);
    }

    fn clear(&self) {
        self.0.clear();
    }

    fn size(&self) -> (usize, u64) {
        self.0.size()
    }

    fn counts(&self) -> Option<StoreCounts> {
        self.0.counts()
    }
}

/// Requests below 100 read. All others change them.
#[derive(Clone)]
struct Changes;

impl KeyOf<u32> for Changes {
    type Key = u32;

    fn key(&self, request: &u32) -> Option<u32> {
        (*request < 100).then_some(*request)
    }

    fn resource(&self, _: &u32) -> Option<u64> {
        Some(9)
    }

    fn invalidates(&self, request: &u32) -> Option<u64> {
        (*request >= 100).then_some(9)
    }
}

#[tokio::test(start_paused = true)]
async fn entry_read_before_the_store_hears_of_a_change_is_not_served_after_it() {
    let (source, store, hook) = (Source::at_once(), FakeStore::new(), Hook::default());
    let [first, second] = [Hook::default(), Arc::clone(&hook)].map(|hook| {
        let shared = Hooked(SharedCache::new(store.clone(), Numbers::<1>), hook);
        source.under(&DedupLayer::keyed(Changes).cache(exactly(s(60)).store(shared)))
    });
    assert_eq!(first.oneshot(7).await, Ok(1));
    settle().await;
    let get = |request| second.clone().oneshot(request);
    let early = get(7);
    let during = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&during);
    hook.lock().unwrap().replace(Box::new(move || *seen.lock().unwrap() = early.now_or_never()));
    assert_eq!(get(107).await, Ok(2));
    assert_eq!(*during.lock().unwrap(), Some(Ok(1)), "the change is not known yet");
    settle().await;
    assert_eq!(get(7).await, Ok(3), "not the entry from before the change");
}
