//! The store of a shared cache, without a layer: what a process asks and is told.

use std::sync::Arc;

use buttress_core::Lifetime;
use buttress_dedup::{CacheEntry, CachedOutcome, Fetched, Intent, OpenStore, SharedCache, Store};
use buttress_state::StoreErrorKind;
use buttress_testkit::{FakeStore, Outage, TestError};
use futures_util::FutureExt;
use tokio::time::{Duration, Instant, sleep};

use crate::{
    replicas::{Numbers, settle},
    source::{ms, s},
};

type Value = CachedOutcome<u32, TestError>;
type Entry = CacheEntry<Value>;

/// Opens the cache of another process.
fn open(store: &FakeStore) -> impl Store<u32, Value> + use<> {
    OpenStore::<u32, Value>::open(&SharedCache::new(store.clone(), Numbers::<1>), "users")
}

fn entry(value: u32, lifetime: Lifetime) -> Arc<Entry> {
    Arc::new(CacheEntry::new(CachedOutcome::Response(value), lifetime, ms(50), 8))
}

fn lifetime(fresh: Duration, while_revalidate: Duration, if_error: Duration) -> Lifetime {
    let mut lifetime = Lifetime::new(fresh);
    (lifetime.stale_while_revalidate, lifetime.stale_if_error) = (while_revalidate, if_error);
    lifetime
}

async fn fetch<St: Store<u32, Value>>(
    store: &St,
    intent: Intent<'_, Value>,
) -> Fetched<Value, St::Lease> {
    store.fetch(&7, None, intent).unwrap().await
}

/// Leads, and stores this value.
async fn fill<St: Store<u32, Value>>(store: &St, entry: Arc<Entry>) {
    let Fetched::Lead { lease, .. } = fetch(store, Intent::Miss).await else {
        panic!("does not lead")
    };
    store.insert(7, entry, Some(lease));
    settle().await;
}

fn number(fetched: &Fetched<Value, impl Sized>) -> u32 {
    match fetched {
        Fetched::Hit(entry) => match entry.value() {
            CachedOutcome::Response(value) => *value,
            _ => panic!("an error"),
        },
        other => panic!("no hit: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn entry_has_its_lifetime_age_and_duration_in_another_process() {
    let store = FakeStore::new();
    let mut told = lifetime(s(10), s(20), s(30));
    (told.age, told.is_explicit) = (s(5), true);
    fill(&open(&store), entry(1, told)).await;
    sleep(s(4)).await;
    let Fetched::Hit(found) = fetch(&open(&store), Intent::Miss).await else { panic!("no hit") };
    let (expected, rounding) = (found.lifetime(), ms(20));
    assert!(expected.fresh <= s(6) && expected.fresh + rounding > s(6), "{expected:?}");
    assert_eq!(expected.stale_while_revalidate, s(20));
    assert_eq!(expected.stale_if_error, s(30));
    assert!(expected.age >= s(9) && expected.age < s(9) + rounding, "{expected:?}");
    assert!(expected.is_explicit);
    assert_eq!(found.took(), ms(50));
    assert!(found.stamp().is_some());
}

#[tokio::test(start_paused = true)]
async fn entry_for_failures_is_the_spare_of_the_next_leader() {
    let store = FakeStore::new();
    fill(&open(&store), entry(1, lifetime(s(10), s(0), s(60)))).await;
    sleep(s(20)).await;
    let process = open(&store);
    let Fetched::Lead { lease, spare, .. } = fetch(&process, Intent::Miss).await else {
        panic!("does not lead")
    };
    assert_eq!(number(&Fetched::<_, ()>::Hit(spare.unwrap())), 1);
    process.insert(7, entry(2, Lifetime::new(s(10))), Some(lease));
    settle().await;
    assert_eq!(number(&fetch(&open(&store), Intent::Miss).await), 2);
}

#[tokio::test(start_paused = true)]
async fn refresh_leads_is_busy_or_finds_a_newer_entry() {
    let store = FakeStore::new();
    let (first, second) = (open(&store), open(&store));
    fill(&first, entry(1, lifetime(s(10), s(60), s(0)))).await;
    let Fetched::Hit(stale) = fetch(&second, Intent::Miss).await else { panic!("no hit") };
    sleep(s(11)).await;
    let Fetched::Lead { lease, .. } = fetch(&first, Intent::Refresh(&stale)).await else {
        panic!("does not lead")
    };
    let busy = fetch(&second, Intent::Refresh(&stale)).await;
    assert!(matches!(busy, Fetched::Busy(left) if left > s(2) && left <= s(3)), "{busy:?}");
    first.insert(7, entry(2, Lifetime::new(s(10))), Some(lease));
    settle().await;
    assert_eq!(number(&fetch(&second, Intent::Refresh(&stale)).await), 2);
}

#[tokio::test(start_paused = true)]
async fn refresh_of_an_entry_without_a_stamp_does_not_find_that_entry_again() {
    let store = FakeStore::new();
    let process = open(&store);
    let told = lifetime(s(10), s(60), s(0));
    let own = entry(1, told);
    fill(&process, entry(1, told)).await;
    sleep(s(11)).await;
    let refresh = fetch(&process, Intent::Refresh(&own)).await;
    assert!(matches!(refresh, Fetched::Lead { .. }), "{refresh:?}");
}

#[tokio::test(start_paused = true)]
async fn declined_lease_sends_others_alone_for_a_second() {
    let store = FakeStore::new();
    let process = open(&store);
    let Fetched::Lead { lease, .. } = fetch(&process, Intent::Miss).await else {
        panic!("does not lead")
    };
    process.decline(&7, None, lease);
    settle().await;
    assert!(matches!(fetch(&open(&store), Intent::Miss).await, Fetched::Alone));
    sleep(s(1)).await;
    assert!(matches!(fetch(&open(&store), Intent::Miss).await, Fetched::Lead { .. }));
}

#[tokio::test(start_paused = true)]
async fn dropped_lease_gives_the_lock_back() {
    let store = FakeStore::new();
    drop(fetch(&open(&store), Intent::Miss).await);
    settle().await;
    let began = Instant::now();
    assert!(matches!(fetch(&open(&store), Intent::Miss).await, Fetched::Lead { .. }));
    assert_eq!(began.elapsed(), s(0));
}

#[test]
fn lease_may_be_dropped_outside_a_runtime() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    let store = runtime.block_on(async { FakeStore::new() });
    let lease = runtime.block_on(async { fetch(&open(&store), Intent::Miss).await });
    drop(lease);
    runtime.block_on(async {
        settle().await;
        let began = Instant::now();
        assert!(matches!(fetch(&open(&store), Intent::Miss).await, Fetched::Lead { .. }));
        assert_eq!(began.elapsed(), s(0), "its runtime has given the lock back");
    });
    let lease = runtime.block_on(async { fetch(&open(&store), Intent::Miss).await });
    drop(runtime);
    drop(lease);
}

#[test]
fn store_counts_as_away_outside_a_runtime() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    let store = runtime.block_on(async { FakeStore::new() });
    let process = open(&store);
    let read = process.fetch(&7, None, Intent::Miss).unwrap();
    assert!(matches!(read.now_or_never(), Some(Fetched::Alone)));
    process.insert(7, entry(1, Lifetime::new(s(10))), None);
    process.remove(&7, None);
    assert!(process.get(&7).is_none());
    // The removal is owed. The next read sends it, and takes nothing from the store.
    runtime.block_on(async {
        assert!(matches!(fetch(&process, Intent::Miss).await, Fetched::Alone));
        settle().await;
        assert!(matches!(fetch(&process, Intent::Miss).await, Fetched::Lead { .. }));
    });
}

#[test]
fn read_goes_on_outside_its_runtime() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    let store = runtime.block_on(async { FakeStore::new() });
    store.set_delay(ms(2));
    let process = open(&store);
    let mut read = tokio_test::task::spawn(process.fetch(&7, None, Intent::Miss).unwrap());
    runtime.block_on(async {
        assert!(read.poll().is_pending());
        sleep(ms(2)).await;
    });
    assert!(read.poll().is_pending(), "outside");
    runtime.block_on(async { sleep(ms(2)).await });
    assert!(read.poll().is_ready());
}

#[test]
fn store_counts_as_away_without_a_time_driver() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let timed = builder.enable_time().start_paused(true).build().unwrap();
    let store = timed.block_on(async { FakeStore::new() });
    let fetched = runtime.block_on(async { fetch(&open(&store), Intent::Miss).await });
    assert!(matches!(fetched, Fetched::Alone));
}

#[tokio::test(start_paused = true)]
async fn failure_of_a_read_is_counted_and_the_process_goes_alone() {
    let store = FakeStore::new();
    let process = open(&store);
    store.fail(StoreErrorKind::Corrupt);
    assert!(matches!(fetch(&process, Intent::Miss).await, Fetched::Alone));
    store.begin_outage(Outage::Refused);
    let stale = entry(1, Lifetime::new(s(10)));
    assert!(matches!(fetch(&process, Intent::Refresh(&stale)).await, Fetched::Alone));
    let counts = process.counts().unwrap();
    assert_eq!((counts.errors, counts.alone, counts.leads), (2, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn memory_holds_an_entry_without_a_lease_for_local_ttl_too() {
    let store = FakeStore::new();
    let process = open(&store);
    process.insert(7, entry(1, Lifetime::new(s(10))), None);
    let kept = process.get(&7).unwrap();
    let now = Instant::now();
    assert!(process.holds(&kept, now + ms(999)));
    assert!(!process.holds(&kept, now + s(1)));
}

#[tokio::test(start_paused = true)]
async fn removal_of_a_resource_is_that_of_all_its_keys() {
    let store = FakeStore::new();
    let (first, second) = (open(&store), open(&store));
    for key in [1, 2] {
        let read = first.fetch(&key, Some(9), Intent::Miss).unwrap().await;
        let Fetched::Lead { lease, .. } = read else { panic!("does not lead") };
        first.insert(key, entry(key, Lifetime::new(s(10))), Some(lease));
    }
    settle().await;
    for key in [1, 2] {
        let read = second.fetch(&key, Some(9), Intent::Miss).unwrap().await;
        assert_eq!(number(&read), key);
    }
    second.remove(&1, Some(9));
    for key in [1, 2] {
        let read = second.fetch(&key, Some(9), Intent::Miss).unwrap().await;
        assert!(matches!(read, Fetched::Lead { .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn reads_wait_for_an_invalidation_in_progress_and_not_for_one_that_failed() {
    let store = FakeStore::new();
    let process = open(&store);
    fill(&process, entry(1, Lifetime::new(s(60)))).await;
    store.set_delay(ms(20));
    process.remove(&7, None);
    let began = Instant::now();
    assert!(matches!(fetch(&process, Intent::Miss).await, Fetched::Lead { .. }));
    assert_eq!(began.elapsed(), ms(40));
    store.begin_outage(Outage::Refused);
    process.remove(&7, None);
    settle().await;
    store.set_delay(ms(0));
    store.end_outage();
    let began = Instant::now();
    assert!(matches!(fetch(&process, Intent::Miss).await, Fetched::Alone), "still owed");
    assert_eq!(began.elapsed(), ms(0));
    sleep(ms(100)).await;
    assert!(matches!(fetch(&process, Intent::Miss).await, Fetched::Lead { .. }), "paid");
}

/// Invalidations that come faster than the trips of the store.
#[tokio::test(start_paused = true)]
async fn read_waits_only_for_invalidations_that_came_before_it() {
    let store = FakeStore::new();
    store.set_delay(ms(20));
    let process = Arc::new(open(&store));
    process.remove(&7, None);
    let reader = Arc::clone(&process);
    let began = Instant::now();
    let read = tokio::spawn(async move { fetch(&*reader, Intent::Miss).await });
    for _ in 0..100 {
        sleep(ms(10)).await;
        process.remove(&7, None);
    }
    assert!(read.is_finished(), "{:?}", began.elapsed());
    assert!(matches!(read.await.unwrap(), Fetched::Lead { .. }));
}
