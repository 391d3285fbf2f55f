//! Keys, responses and errors that panic when they are hashed, compared, cloned or shared.

use std::{
    hash::{Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
};

use buttress_dedup::{Cache, DedupLayer, DedupSnapshot, Ratio};
use buttress_testkit::counts;
use tokio::time::{advance, sleep};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneService};
use tower_service::Service;

use crate::{
    fuse::Fuse,
    support::{Failure, PANICKED, call, failing, ms, outcome, settle, upstream, waiting},
};

#[tokio::test(start_paused = true)]
async fn panicking_key_function_rejects_its_caller() {
    let fuse = Fuse::default();
    let burning = fuse.clone();
    let layer = DedupLayer::keyed(move |n: &u32| {
        burning.burn();
        Some(*n)
    });
    let service = layer.layer(upstream(ms(50), Ok));
    let flying = waiting(&service, 1);
    fuse.light();
    assert_eq!(call(&service, 1).await, Err(PANICKED));
    let expected =
        counts!(DedupSnapshot { calls: 2, leaders: 1, panics: 1, in_flight: 1, waiters: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
    let joining = waiting(&service, 1);
    advance(ms(50)).await;
    assert_eq!(outcome(flying), Ok(1));
    assert_eq!(outcome(joining), Ok(1));
}

#[tokio::test(start_paused = true)]
async fn panicking_key_function_resumes_in_its_caller_when_enabled() {
    let fuse = Fuse::of(1);
    let layer = DedupLayer::keyed(move |n: &u32| {
        fuse.burn();
        Some(*n)
    });
    let mut service = layer.resume_panics().layer(upstream(ms(50), Ok));
    let payload = catch_unwind(AssertUnwindSafe(|| drop(service.call(1)))).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"as told"));
    assert_eq!(call(&service, 1).await, Ok(1));
}

/// A key that panics when it is hashed, or when it is compared.
#[derive(Clone)]
struct Key(u32, Fuse, Fuse);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.1.burn();
        self.0.hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.2.burn();
        self.0 == other.0
    }
}

impl Eq for Key {}

#[tokio::test(start_paused = true)]
async fn panicking_hash_or_eq_rejects_its_caller() {
    let (hash, eq) = (Fuse::default(), Fuse::default());
    let key = Key(0, hash.clone(), eq.clone());
    let layer = DedupLayer::keyed(move |n: &u32| Some(Key(*n, key.1.clone(), key.2.clone())));
    let service = layer.layer(upstream(ms(50), Ok));
    let flying = waiting(&service, 1);
    for (times, fuse) in [(1, hash), (2, eq)] {
        fuse.light();
        assert_eq!(call(&service, 1).await, Err(PANICKED));
        assert_eq!(layer.handle().panics(), times);
        assert_eq!(layer.handle().waiters(), 1);
    }
    let joining = waiting(&service, 1);
    advance(ms(50)).await;
    assert_eq!(outcome(flying), Ok(1));
    assert_eq!(outcome(joining), Ok(1));
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn panicking_hash_or_eq_rejects_its_caller_with_a_cache() {
    let (hash, eq) = (Fuse::default(), Fuse::default());
    let key = Key(0, hash.clone(), eq.clone());
    let layer = DedupLayer::keyed(move |n: &u32| Some(Key(*n, key.1.clone(), key.2.clone())))
        .cache(Cache::new(ms(10_000)));
    let service = layer.layer(upstream(ms(50), Ok));
    assert_eq!(call(&service, 1).await, Ok(1));
    for fuse in [hash, eq] {
        fuse.light();
        assert_eq!(call(&service, 1).await, Err(PANICKED));
        assert_eq!(call(&service, 1).await, Ok(1));
    }
    let expected = counts!(DedupSnapshot {
        calls: 5,
        leaders: 1,
        cache_hits: 2,
        panics: 2,
        cache_entries: 1,
        cache_bytes: layer.handle().cache_bytes()
    });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn panicking_hash_or_eq_during_a_change_of_the_cache_leaves_the_cache_in_use() {
    let (hash, eq) = (Fuse::default(), Fuse::default());
    let key = Key(0, hash.clone(), eq.clone());
    let keyed = key.clone();
    let layer = DedupLayer::keyed(move |n: &u32| Some(Key(*n, keyed.1.clone(), keyed.2.clone())))
        .cache(Cache::new(ms(10_000)).jitter(Ratio::ZERO));
    let service = layer.layer(upstream(ms(50), Ok));
    let handle = layer.handle();
    assert_eq!(call(&service, 1).await, Ok(1));
    // `Eq` in an invalidation.
    eq.light();
    let key = Key(1, key.1, key.2);
    catch_unwind(AssertUnwindSafe(|| handle.invalidate(&key))).unwrap_err();
    assert_eq!(call(&service, 1).await, Ok(1));
    // `Hash` in a sweep.
    advance(ms(10_000)).await;
    hash.light();
    assert_eq!(handle.cache_entries(), 0);
    hash.put_out();
    assert_eq!(call(&service, 1).await, Ok(2));
    // `Eq` in the write that replaces an expired entry.
    advance(ms(10_000)).await;
    let replacing = waiting(&service, 1);
    eq.light();
    advance(ms(50)).await;
    assert_eq!(outcome(replacing), Ok(3));
    assert_eq!(call(&service, 1).await, Ok(4));
    assert_eq!(call(&service, 1).await, Ok(4));
}

/// A response that panics when it is cloned.
#[derive(Debug)]
struct Brittle(FuseInside);

struct FuseInside(Fuse);

impl std::fmt::Debug for FuseInside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("fuse")
    }
}

impl Clone for Brittle {
    fn clone(&self) -> Self {
        self.0.0.burn();
        Self(FuseInside(self.0.0.clone()))
    }
}

/// An upstream of responses that burn the fuse when they are cloned.
fn brittle(fuse: &Fuse) -> BoxCloneService<u32, Brittle, Failure> {
    let fuse = fuse.clone();
    let work = move |_: u32| {
        let fuse = fuse.clone();
        async move {
            sleep(ms(50)).await;
            Ok(Brittle(FuseInside(fuse)))
        }
    };
    service_fn(work).boxed_clone()
}

#[tokio::test(start_paused = true)]
async fn panicking_clone_of_a_response_rejects_its_caller() {
    let (layer, fuse) = (DedupLayer::new(), Fuse::default());
    let service = layer.layer(brittle(&fuse));
    let calls = [(); 3].map(|()| waiting(&service, 1));
    advance(ms(50)).await;
    fuse.light();
    let outcomes = calls.map(|call| outcome(call).map(drop));
    assert_eq!(outcomes, [Err(PANICKED), Ok(()), Ok(())]);
    let expected = counts!(DedupSnapshot { calls: 3, leaders: 1, followers: 2, panics: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
    assert!(call(&service, 1).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn panicking_clone_of_a_response_resumes_in_its_caller_when_enabled() {
    let (layer, fuse) = (DedupLayer::new().resume_panics(), Fuse::default());
    let service = layer.layer(brittle(&fuse));
    let [mut first, second] = [(); 2].map(|()| waiting(&service, 1));
    advance(ms(50)).await;
    fuse.light();
    catch_unwind(AssertUnwindSafe(|| drop(first.poll()))).unwrap_err();
    assert!(outcome(second).is_ok());
    let expected = counts!(DedupSnapshot { calls: 2, leaders: 1, followers: 1, panics: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn panic_while_sharing_an_error_rejects_all_waiters() {
    let fuse = Fuse::of(1);
    let share = move |error: &Failure| {
        fuse.burn();
        Some(error.clone())
    };
    let layer = DedupLayer::new().share_errors_with(share);
    let service = layer.layer(failing(ms(50)));
    let mut calls = [(); 3].map(|()| Some(waiting(&service, 1)));
    advance(ms(50)).await;
    assert_eq!(settle(&mut calls).1, [(); 3].map(|()| Err(PANICKED)));
    assert_eq!(layer.handle().in_flight(), 0);
    let mut calls = [(); 3].map(|()| Some(waiting(&service, 1)));
    advance(ms(50)).await;
    assert_eq!(settle(&mut calls).1, [2; 3].map(|n| Err(Failure::Down(n))));
}

#[tokio::test(start_paused = true)]
async fn panic_while_copying_a_shared_error_rejects_its_caller() {
    let fuse = Fuse::default();
    let burning = fuse.clone();
    let share = move |error: &Failure| {
        burning.burn();
        Some(error.clone())
    };
    let layer = DedupLayer::new().share_errors_with(share);
    let service = layer.layer(failing(ms(50)));
    let [first, second, third] = [(); 3].map(|()| waiting(&service, 1));
    advance(ms(50)).await;
    assert_eq!(outcome(first), Err(Failure::Down(1)));
    fuse.light();
    assert_eq!(outcome(second), Err(PANICKED));
    assert_eq!(outcome(third), Err(Failure::Down(1)));
    assert_eq!(layer.handle().in_flight(), 0);
}
