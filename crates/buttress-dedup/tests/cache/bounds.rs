//! The limits of the cache: entries and bytes.

use std::{
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use buttress_core::KeyOf;
use buttress_dedup::{DedupHandle, DedupLayer, DedupSnapshot};
use buttress_testkit::{TestError, counts};
use tokio::time::advance;
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{Cached, exactly, ms, s};

#[tokio::test(start_paused = true)]
async fn cache_of_zero_entries_or_bytes_stores_nothing() {
    let empty = [
        exactly(s(10)).max_entries(0),
        exactly(s(10)).max_bytes(0),
        exactly(s(10)).max_entries(0).max_bytes(0),
        exactly(s(10)).max_entries(0).max_bytes(usize::MAX),
        exactly(s(10)).max_entries(usize::MAX).max_bytes(0),
    ];
    for cache in empty {
        let cached = Cached::new(cache);
        assert_eq!(cached.get(7).await, Ok(1));
        assert_eq!(cached.get(7).await, Ok(2));
        assert_eq!(cached.handle.snapshot(), counts!(DedupSnapshot { calls: 2, leaders: 2 }));
    }
}

#[tokio::test(start_paused = true)]
async fn cache_fills_up_to_its_entry_limit_and_never_exceeds_it() {
    for max in [1, 2, 3, 7, 31, 32, 100, 1_000] {
        let cached = Cached::new(exactly(s(10)).max_entries(max));
        for key in 0..3_000 {
            cached.get(key).await.unwrap();
            if max < 100 || key % 100 == 0 {
                assert!(
                    cached.handle.cache_entries() <= max,
                    "{} of {max}",
                    cached.handle.cache_entries()
                );
            }
        }
        assert!(
            cached.handle.cache_entries() > max * 9 / 10,
            "{} of {max}",
            cached.handle.cache_entries()
        );
        // The last entry is present.
        let before = cached.source.calls();
        cached.get(2_999).await.unwrap();
        assert_eq!(cached.source.calls(), before, "{max}");
    }
}

#[tokio::test(start_paused = true)]
async fn largest_limits_do_not_limit_the_cache() {
    for (entries, bytes) in [(usize::MAX, usize::MAX), (10, usize::MAX), (usize::MAX, 100_000)] {
        let cache = exactly(s(10)).max_entries(entries).max_bytes(bytes);
        let cached = Cached::new(cache);
        cached.load(0..2_000).await;
        assert_eq!(cached.handle.cache_entries(), entries.min(2_000));
    }
}

/// A response that takes 100 bytes together with its key.
type Hundred = [u8; 96];

async fn hundreds(handle: impl Fn(&DedupHandle), max_bytes: usize, keys: u32) -> DedupHandle {
    let layer =
        DedupLayer::keyed(|key: &u32| Some(*key)).cache(exactly(s(10)).max_bytes(max_bytes));
    let service = layer.layer(service_fn(async |_: u32| Ok::<Hundred, TestError>([0; 96])));
    for key in 0..keys {
        service.clone().oneshot(key).await.unwrap();
        handle(&layer.handle());
    }
    layer.handle()
}

#[tokio::test(start_paused = true)]
async fn cache_limits_and_counts_its_bytes() {
    for max in [1_000, 1_001, 10_000, 123_456] {
        let within = |handle: &DedupHandle| assert!(handle.cache_bytes() <= max as u64);
        let handle = hundreds(within, max, 2_000).await;
        let (kept, bytes) = (handle.cache_entries(), handle.cache_bytes());
        assert_eq!(bytes, 100 * kept as u64);
        // The cache reserves space in eighths.
        assert!(kept >= max / 100 * 8 / 10, "{kept} in {max}");
    }
    let handle = hundreds(|_| {}, 1 << 20, 5).await;
    let expected =
        counts!(DedupSnapshot { calls: 5, leaders: 5, cache_entries: 5, cache_bytes: 500 });
    assert_eq!(handle.snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn response_larger_than_a_tenth_of_the_cache_is_not_cached() {
    assert_eq!(hundreds(|_| {}, 999, 1).await.cache_entries(), 0);
    assert_eq!(hundreds(|_| {}, 1_000, 1).await.cache_entries(), 1);
    assert_eq!(hundreds(|_| {}, 99, 1).await.cache_entries(), 0);
}

#[tokio::test(start_paused = true)]
async fn entry_limit_applies_to_responses_without_a_size() {
    let layer = DedupLayer::keyed(|key: &u32| Some(*key)).cache(exactly(s(10)).max_entries(60));
    let service = layer.layer(service_fn(async |_: u32| Ok::<_, TestError>(())));
    for key in 0..2_000 {
        service.clone().oneshot(key).await.unwrap();
        assert!(layer.handle().cache_entries() <= 60);
    }
    let kept = layer.handle().cache_entries();
    assert!(kept > 50);
    assert_eq!(layer.handle().cache_bytes(), 4 * kept as u64, "only the key has a size");
}

/// A key that weighs 1,000 bytes.
#[derive(Clone)]
struct Large;

impl KeyOf<u32> for Large {
    type Key = u32;

    fn key(&self, request: &u32) -> Option<u32> {
        Some(*request)
    }

    fn weight(&self, _: &u32) -> usize {
        1_000
    }
}

#[tokio::test(start_paused = true)]
async fn byte_limit_includes_the_keys() {
    let layer = DedupLayer::keyed(Large).cache(exactly(s(10)).max_bytes(20_000));
    let service = layer.layer(service_fn(async |_: u32| Ok::<_, TestError>(())));
    for key in 0..1_000 {
        service.clone().oneshot(key).await.unwrap();
        assert!(layer.handle().cache_bytes() <= 20_000);
    }
    assert!((16..=20).contains(&layer.handle().cache_entries()));
}

#[tokio::test(start_paused = true)]
async fn million_keys_stay_within_the_limits_and_leave_no_entry() {
    let layer = DedupLayer::new().cache(exactly(s(10)).max_entries(1_000));
    let handle = layer.handle();
    let service = layer.layer(service_fn(async |key: u32| Ok::<_, TestError>(key)));
    for key in 0..1_000_000 {
        service.clone().oneshot(key).await.unwrap();
        if key % 10_000 == 0 {
            assert!(handle.cache_entries() <= 1_000);
            advance(ms(100)).await;
        }
    }
    assert!(handle.cache_entries() > 900);
    advance(s(10)).await;
    assert_eq!(handle.snapshot(), counts!(DedupSnapshot { calls: 1_000_000, leaders: 1_000_000 }));
}

#[tokio::test(start_paused = true)]
async fn expired_entries_are_swept_without_lookups_of_their_keys() {
    struct Counted(Arc<AtomicUsize>);

    impl Clone for Counted {
        fn clone(&self) -> Self {
            self.0.fetch_add(1, Ordering::SeqCst);
            Self(Arc::clone(&self.0))
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    let live = Arc::new(AtomicUsize::new(0));
    let make = Arc::clone(&live);
    let layer = DedupLayer::keyed(|key: &u32| Some(*key)).cache(exactly(s(1)).max_entries(100_000));
    let service = layer.layer(service_fn(move |_: u32| {
        make.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok::<_, TestError>(Counted(Arc::clone(&make))))
    }));
    // 1,000 entries are fresh at any time, and about as many may wait for the sweep.
    for key in 0..20_000 {
        drop(service.clone().oneshot(key).await.unwrap());
        advance(ms(1)).await;
        assert!(live.load(Ordering::SeqCst) <= 2_100, "{}", live.load(Ordering::SeqCst));
    }
    advance(s(1)).await;
    assert_eq!(layer.handle().cache_entries(), 0);
    assert_eq!(live.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn hot_keys_survive_a_scan() {
    let cached = Cached::new(exactly(s(1_000)).max_entries(1_000));
    for _ in 0..10 {
        cached.load(0..100).await;
    }
    assert_eq!(cached.source.calls(), 100);
    cached.load(1_000..11_000).await;
    let before = cached.source.calls();
    cached.load(0..100).await;
    assert!(
        cached.source.calls() - before <= 2,
        "{} of 100 are gone",
        cached.source.calls() - before
    );
}

#[tokio::test(start_paused = true)]
async fn renewed_hot_keys_survive_a_scan() {
    let cached = Cached::new(exactly(s(10)).max_entries(1_000));
    for _ in 0..10 {
        cached.load(0..100).await;
    }
    cached.load(1_000..2_000).await;
    advance(s(10)).await;
    cached.load(0..100).await;
    cached.load(20_000..30_000).await;
    let before = cached.source.calls();
    cached.load(0..100).await;
    assert!(
        cached.source.calls() - before <= 2,
        "{} of 100 are gone",
        cached.source.calls() - before
    );
}

/// A response whose destructor invalidates keys. With a lock held, that would deadlock.
#[derive(Clone)]
struct Linked {
    _at_its_end: Arc<Forgetful>,
}

struct Forgetful(DedupHandle);

impl Drop for Forgetful {
    fn drop(&mut self) {
        for key in 0..50_u32 {
            self.0.invalidate(&key);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn removed_entries_are_dropped_outside_the_locks() {
    let layer = DedupLayer::keyed(|key: &u32| Some(*key)).cache(exactly(s(10)).max_entries(20));
    let handle = layer.handle();
    let made = handle.clone();
    let service = layer.layer(service_fn(move |_: u32| {
        let linked = Linked { _at_its_end: Arc::new(Forgetful(made.clone())) };
        std::future::ready(Ok::<_, TestError>(linked))
    }));
    for key in 1_000..1_100 {
        drop(service.clone().oneshot(key).await.unwrap());
    }
    handle.invalidate_all();
    assert_eq!(handle.cache_entries(), 0);
    for key in 1_000..1_010 {
        drop(service.clone().oneshot(key).await.unwrap());
    }
    handle.invalidate(&1_000_u32);
    advance(s(10)).await;
    assert_eq!(handle.cache_entries(), 0);
}

/// A key whose destructor reads the handle's numbers. With a lock held, that would deadlock.
#[derive(Clone)]
struct Curious(u32, DedupHandle);

impl Drop for Curious {
    fn drop(&mut self) {
        // Each of these takes all locks.
        self.1.in_flight();
        self.1.cache_entries();
    }
}

impl PartialEq for Curious {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Curious {}

impl Hash for Curious {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[tokio::test(start_paused = true)]
async fn removed_keys_are_dropped_outside_the_locks() {
    let layer = DedupLayer::new().cache(exactly(s(10)).max_entries(20));
    let handle = layer.handle();
    let service = layer.layer(service_fn(|key: Curious| {
        let number = key.0;
        std::future::ready(Ok::<_, TestError>(number))
    }));
    let get = async |number| {
        let key = Curious(number, handle.clone());
        assert_eq!(service.clone().oneshot(key).await.unwrap(), number);
    };
    for number in (0..100).chain(0..20).chain(0..20) {
        get(number).await;
    }
    handle.invalidate(&Curious(0, handle.clone()));
    assert!(handle.cache_entries() > 0);
    advance(s(10)).await;
    get(1).await;
    assert_eq!(handle.cache_entries(), 1);
    handle.invalidate_all();
    let expected = counts!(DedupSnapshot { calls: 141, leaders: 102, cache_hits: 39 });
    assert_eq!(handle.snapshot(), expected);
}
