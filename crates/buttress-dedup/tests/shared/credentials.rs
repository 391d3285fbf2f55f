//! Keys that hold credentials.

use buttress_core::StoreKey;
use buttress_dedup::{DedupHandle, DedupLayer, SharedCache};
use buttress_testkit::FakeStore;
use tokio::time::sleep;
use tower::ServiceExt;

use crate::{
    replicas::{Numbers, settle},
    source::{Bare, Source, exactly, ms, s},
};

/// Even keys hold credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct User(u32);

impl StoreKey for User {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }

    fn holds_credentials(&self) -> bool {
        self.0.is_multiple_of(2)
    }
}

type Shared = SharedCache<FakeStore, Numbers>;

fn replica(
    store: &FakeStore,
    source: &Source,
    options: impl FnOnce(Shared) -> Shared,
) -> (DedupHandle, Bare) {
    let shared = options(SharedCache::new(store.clone(), Numbers).local_ttl(ms(100)));
    let layer = DedupLayer::keyed(|n: &u32| Some(User(*n))).cache(exactly(s(60)).store(shared));
    (layer.handle(), source.under(&layer))
}

async fn get(service: &Bare, key: u32) -> u32 {
    service.clone().oneshot(key).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn entry_with_credentials_stays_in_its_process_for_its_lifetime() {
    let (store, source) = (FakeStore::new(), Source::at_once());
    let (handle, first) = replica(&store, &source, |shared| shared);
    let (_, second) = replica(&store, &source, |shared| shared);
    assert_eq!(get(&first, 2).await, 1);
    settle().await;
    assert_eq!(get(&second, 2).await, 2, "another process does not find it");
    sleep(s(50)).await;
    assert_eq!(get(&first, 2).await, 1, "longer than local_ttl");
    handle.invalidate(&User(2));
    assert_eq!(get(&first, 2).await, 3);
    assert_eq!(buttress_state::QuotaStore::snapshot(&store).operations, 0, "no trip at all");
    assert_eq!(get(&first, 3).await, 4);
    settle().await;
    assert_eq!(get(&second, 3).await, 4, "other keys are shared");
}

#[tokio::test(start_paused = true)]
async fn entry_with_credentials_is_shared_if_the_user_says_so() {
    let (store, source) = (FakeStore::new(), Source::at_once());
    let (_, first) = replica(&store, &source, SharedCache::credentials);
    let (_, second) = replica(&store, &source, SharedCache::credentials);
    assert_eq!(get(&first, 2).await, 1);
    settle().await;
    assert_eq!(get(&second, 2).await, 1);
}
