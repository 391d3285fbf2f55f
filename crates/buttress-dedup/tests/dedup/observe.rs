//! The counts and events of `observe`. Each call reaches the inner service.

use buttress_core::Reason;
use buttress_dedup::{Cache, DedupLayer, DedupSnapshot};
use buttress_testkit::{Events, counts};
use tokio::time::advance;
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{Failure, call, in_one_task, ms, outcome, settle, taking, upstream, waiting};

#[tokio::test(start_paused = true)]
async fn observed_followers_make_calls_of_their_own() {
    let events = Events::of("buttress");
    let (layer, upstream) = (DedupLayer::new().observe(), taking(ms(50)));
    let (handle, service) = (layer.handle(), layer.layer(upstream.clone()));
    let mut calls = [(); 3].map(|()| Some(waiting(&service, 1)));
    assert_eq!(upstream.calls(), 3);
    let expected =
        counts!(DedupSnapshot { calls: 3, leaders: 1, followers: 2, in_flight: 1, waiters: 1 });
    assert_eq!(handle.snapshot(), expected);
    let joined = events.named("dedup.joined");
    assert_eq!(joined.len(), 2);
    assert_eq!(joined[0].field("observed"), Some("true"));
    advance(ms(50)).await;
    assert_eq!(settle(&mut calls).1, [Ok(1), Ok(2), Ok(3)]);
    assert_eq!(handle.snapshot(), counts!(DedupSnapshot { in_flight: 0, waiters: 0, ..expected }));
}

#[tokio::test(start_paused = true)]
async fn observed_hits_make_calls_of_their_own() {
    let events = Events::of("buttress");
    let layer = DedupLayer::new().cache(Cache::new(ms(1_000))).observe();
    let (handle, upstream) = (layer.handle(), taking(ms(50)));
    let service = layer.layer(upstream.clone());
    assert_eq!(service.clone().oneshot(1).await, Ok(1));
    assert_eq!(service.clone().oneshot(1).await, Ok(2));
    assert_eq!(service.oneshot(1).await, Ok(3));
    let snapshot = handle.snapshot();
    let expected = counts!(DedupSnapshot {
        calls: 3,
        leaders: 1,
        cache_hits: 2,
        cache_entries: 1,
        cache_bytes: snapshot.cache_bytes,
    });
    assert_eq!(snapshot, expected);
    let hits = events.named("dedup.cache_hit");
    assert_eq!(hits.len(), 2);
    assert_eq!(hits[0].field("observed"), Some("true"));
}

#[tokio::test(start_paused = true)]
async fn observed_call_renews_a_stale_entry_itself() {
    let cache = Cache::new(ms(100)).stale_while_revalidate(ms(10_000));
    let layer = DedupLayer::new().cache(cache.jitter(buttress_dedup::Ratio::ZERO)).observe();
    let (handle, upstream) = (layer.handle(), taking(ms(50)));
    let service = layer.layer(upstream.clone());
    assert_eq!(service.clone().oneshot(1).await, Ok(1));
    advance(ms(150)).await;
    assert_eq!(service.clone().oneshot(1).await, Ok(2));
    assert_eq!(service.oneshot(1).await, Ok(3));
    assert_eq!(upstream.calls(), 3);
    let snapshot = handle.snapshot();
    let expected = counts!(DedupSnapshot {
        calls: 3,
        leaders: 2,
        cache_hits: 2,
        stale_hits: 1,
        refreshes: 1,
        cache_entries: 1,
        cache_bytes: snapshot.cache_bytes,
    });
    assert_eq!(snapshot, expected);
}

#[tokio::test(start_paused = true)]
async fn observed_calls_start_a_single_refresh_of_a_stale_entry() {
    let cache = Cache::new(ms(100)).stale_while_revalidate(ms(10_000));
    let layer = DedupLayer::new().cache(cache.jitter(buttress_dedup::Ratio::ZERO)).observe();
    let (handle, upstream) = (layer.handle(), taking(ms(50)));
    let service = layer.layer(upstream.clone());
    assert_eq!(service.clone().oneshot(1).await, Ok(1));
    advance(ms(150)).await;
    let mut calls = [(); 3].map(|()| Some(waiting(&service, 1)));
    assert_eq!(upstream.calls(), 4);
    advance(ms(50)).await;
    assert_eq!(settle(&mut calls).1, [Ok(2), Ok(3), Ok(4)]);
    let snapshot = handle.snapshot();
    let expected = counts!(DedupSnapshot {
        calls: 4,
        leaders: 2,
        cache_hits: 3,
        stale_hits: 3,
        refreshes: 1,
        cache_entries: 1,
        cache_bytes: snapshot.cache_bytes,
    });
    assert_eq!(snapshot, expected);
}

#[tokio::test(start_paused = true)]
async fn observed_failure_is_not_replaced_with_a_stale_entry() {
    let cache = Cache::new(ms(100)).stale_if_error(ms(10_000));
    let layer = DedupLayer::new().cache(cache).observe();
    let answers = |number| if number == 1 { Ok(1) } else { Err(Failure::Down(number)) };
    let service = layer.layer(upstream(ms(0), answers));
    assert_eq!(service.clone().oneshot(1).await, Ok(1));
    advance(ms(1_000)).await;
    assert_eq!(service.oneshot(1).await, Err(Failure::Down(2)));
}

#[tokio::test(start_paused = true)]
async fn observed_panic_is_resumed() {
    let layer = DedupLayer::new().observe();
    let handle = layer.handle();
    let service = layer.layer(service_fn(|_: u32| async {
        std::panic::resume_unwind(Box::new("as told"));
        #[expect(unreachable_code, reason = "says what the service would return")]
        Ok::<u32, Failure>(1)
    }));
    let met = tokio::spawn(service.oneshot(1)).await;
    assert!(met.is_err_and(|error| error.is_panic()));
    assert_eq!(handle.snapshot(), counts!(DedupSnapshot { calls: 1, leaders: 1, panics: 1 }));
}

#[tokio::test(start_paused = true)]
async fn each_call_is_counted_once_despite_restarts() {
    in_one_task(async {
        let layer = DedupLayer::keyed(|n: &u32| (*n > 0).then_some(*n));
        let fails = |number| Err(Failure::Down(number));
        let (handle, service) = (layer.handle(), layer.layer(upstream(ms(50), fails)));
        let mut calls: Vec<_> = (0..5).map(|_| Some(waiting(&service, 1))).collect();
        // Each of the four followers starts again after the failure of the leader before it.
        for _ in 0..5 {
            advance(ms(50)).await;
            settle(&mut calls);
        }
        assert!(calls.iter().all(Option::is_none));
        let expected = counts!(DedupSnapshot { calls: 5, leaders: 5, followers: 10 });
        assert_eq!(handle.snapshot(), expected);
        let alone = waiting(&service, 0);
        advance(ms(50)).await;
        assert_eq!(outcome(alone), Err(Failure::Down(6)));
        let expected = handle.snapshot();
        assert_eq!(expected.calls, 6);
        assert_eq!(expected.bypassed, 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn panicking_key_counts_as_a_call() {
    let key = |_: &u32| -> Option<u32> { std::panic::resume_unwind(Box::new("as told")) };
    let layer = DedupLayer::keyed(key);
    let (handle, service) = (layer.handle(), layer.layer(taking(ms(50))));
    assert_eq!(outcome(call(&service, 1)), Err(Failure::Rejected(Reason::Panicked)));
    assert_eq!(handle.snapshot(), counts!(DedupSnapshot { calls: 1, panics: 1 }));
}

#[tokio::test(start_paused = true)]
async fn cache_option_leaves_siblings_as_they_were() {
    let layer = DedupLayer::new();
    let (before, upstream) = (layer.handle(), taking(ms(50)));
    let sibling = layer.clone().layer(upstream.clone());
    let cached = layer.cache(Cache::new(ms(1_000)));
    let (after, service) = (cached.handle(), cached.layer(upstream.clone()));
    for _ in 0..2 {
        sibling.clone().oneshot(1).await.unwrap();
    }
    assert_eq!(before.snapshot(), counts!(DedupSnapshot { calls: 2, leaders: 2 }));
    assert_eq!(after.snapshot(), DedupSnapshot::default());
    for _ in 0..2 {
        service.clone().oneshot(1).await.unwrap();
    }
    assert_eq!(after.calls(), 2);
    assert_eq!(after.cache_hits(), 1);
    assert_eq!(before.calls(), 2);
    assert_eq!(upstream.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn observe_option_leaves_siblings_as_they_were() {
    let layer = DedupLayer::new();
    let (sibling, upstream) = (layer.clone(), taking(ms(50)));
    let _observing = layer.observe();
    let service = sibling.layer(upstream.clone());
    let _calls = [waiting(&service, 1), waiting(&service, 1)];
    assert_eq!(upstream.calls(), 1);
}
