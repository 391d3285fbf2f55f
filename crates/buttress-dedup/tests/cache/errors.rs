//! Stale entries in place of failures.

use buttress_core::{BoxError, Deadline, Reason, Rejection, Verdict};
use buttress_deadline::DeadlineLayer;
use buttress_dedup::{DedupLayer, DedupSnapshot};
use buttress_testkit::{Events, TestError, counts};
use buttress_throttle::ThrottleLayer;
use futures_util::future::join_all;
use tokio::time::{Instant, advance, sleep, timeout};
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Cached, Does, Source, constant, exactly, ms, s, settle, snapshot};

const FAILED: Result<u32, TestError> = Err(TestError::Failed);

#[tokio::test(start_paused = true)]
async fn stale_entry_replaces_a_failure_within_its_window() {
    let cached = Cached::new(exactly(s(10)).stale_if_error(s(20)));
    cached.get(7).await.unwrap();
    cached.source.does(Does::Fail(TestError::Failed));
    advance(s(10)).await;
    let events = Events::of("buttress");
    assert_eq!(cached.get(7).await, Ok(1));
    assert_eq!(cached.source.calls(), 2);
    assert_eq!(events.names(), ["dedup.error_replaced", "dedup.cache_hit"]);
    assert_eq!(events.all()[1].field("stale"), Some("true"));
    let expected = counts!(DedupSnapshot {
        calls: 2,
        leaders: 2,
        cache_hits: 1,
        stale_hits: 1,
        cache_entries: 1,
        cache_bytes: 8
    });
    assert_eq!(snapshot(&cached.handle), expected);
    advance(ms(19_999)).await;
    assert_eq!(cached.get(7).await, Ok(1));
    assert_eq!(cached.source.calls(), 3);
    advance(ms(1)).await;
    assert_eq!(cached.get(7).await, FAILED);
    assert_eq!(cached.source.calls(), 4);
    let expected = counts!(DedupSnapshot { calls: 4, leaders: 4, cache_hits: 2, stale_hits: 2 });
    assert_eq!(snapshot(&cached.handle), expected);
}

#[tokio::test(start_paused = true)]
async fn stale_if_error_calls_the_service_each_time_until_a_success() {
    let cached = Cached::new(exactly(s(10)).stale_if_error(s(100)));
    cached.get(7).await.unwrap();
    cached.source.does(Does::Fail(TestError::Failed));
    advance(s(11)).await;
    for calls in 2..10 {
        assert_eq!(cached.get(7).await, Ok(1));
        assert_eq!(cached.source.calls(), calls);
    }
    cached.source.does(Does::Answer);
    assert_eq!(cached.get(7).await, Ok(10));
    assert_eq!(cached.get(7).await, Ok(10));
}

#[tokio::test(start_paused = true)]
async fn expired_entry_does_not_replace_a_failure_by_default() {
    let cached = Cached::new(exactly(s(10)));
    cached.get(7).await.unwrap();
    cached.source.does(Does::Fail(TestError::Failed));
    advance(s(10)).await;
    assert_eq!(cached.get(7).await, FAILED);
}

#[tokio::test(start_paused = true)]
async fn stale_entry_does_not_replace_a_permanent_failure() {
    let classify = |outcome: Result<&u32, &TestError>| match outcome {
        Ok(_) => Verdict::Success,
        Err(TestError::NotFound) => Verdict::Permanent,
        Err(_) => Verdict::Transient,
    };
    let cache = exactly(s(10)).stale_if_error(s(100)).classify(classify);
    let cached = Cached::new(cache);
    cached.get(7).await.unwrap();
    advance(s(10)).await;
    cached.source.does(Does::Fail(TestError::NotFound));
    assert_eq!(cached.get(7).await, Err(TestError::NotFound));
    cached.source.does(Does::Fail(TestError::Failed));
    assert_eq!(cached.get(7).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn stale_entry_replaces_a_response_classified_as_failure() {
    let classify = |outcome: Result<&u32, &TestError>| match outcome {
        Ok(1) => Verdict::Success,
        _ => Verdict::Throttled(None),
    };
    let cache = exactly(s(10)).stale_if_error(s(100)).classify(classify);
    let cached = Cached::new(cache);
    cached.get(7).await.unwrap();
    advance(s(10)).await;
    assert_eq!(cached.get(7).await, Ok(1));
    assert_eq!(cached.source.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn stale_entry_replaces_a_panic_and_the_panic_is_counted() {
    let cached = Cached::new(exactly(s(10)).stale_if_error(s(20)));
    cached.get(7).await.unwrap();
    cached.source.does(Does::Panic);
    advance(s(10)).await;
    let events = Events::of("buttress");
    assert_eq!(cached.get(7).await, Ok(1));
    assert_eq!(events.names(), ["dedup.error_replaced", "dedup.panicked", "dedup.cache_hit"]);
    let expected = counts!(DedupSnapshot {
        calls: 2,
        leaders: 2,
        cache_hits: 1,
        stale_hits: 1,
        panics: 1,
        cache_entries: 1,
        cache_bytes: 8
    });
    assert_eq!(snapshot(&cached.handle), expected);
    advance(s(20)).await;
    assert_eq!(cached.get(7).await, Err(TestError::Rejected(Reason::Panicked)));
}

#[tokio::test(start_paused = true)]
async fn resumed_panic_reaches_one_caller_and_the_others_get_the_stale_entry() {
    let cache = exactly(s(10)).stale_if_error(s(20));
    let layer = DedupLayer::new().cache(cache).resume_panics();
    let cached = Cached::over(Source::at_once(), &layer);
    cached.get(7).await.unwrap();
    cached.source.does(Does::Panic);
    cached.source.takes(ms(50));
    advance(s(10)).await;
    let tasks: Vec<_> = (0..5)
        .map(|_| {
            let cached = cached.clone();
            tokio::spawn(async move { cached.get(7).await })
        })
        .collect();
    let outcomes = join_all(tasks).await;
    let panicked = outcomes.iter().filter(|joined| joined.is_err()).count();
    let spared = outcomes.iter().filter(|joined| matches!(joined, Ok(Ok(1)))).count();
    assert_eq!(panicked, 1);
    assert_eq!(spared, 4);
}

#[tokio::test(start_paused = true)]
async fn all_waiters_get_the_stale_entry_in_place_of_a_failure() {
    for does in [Does::Fail(TestError::Failed), Does::Panic] {
        let cached = Cached::new(exactly(s(10)).stale_if_error(s(20)));
        cached.get(7).await.unwrap();
        cached.source.does(does);
        cached.source.takes(ms(50));
        advance(s(10)).await;
        let all = cached.get_together(100, 7).await;
        assert_eq!(all, [Ok(1); 100]);
        assert_eq!(cached.source.calls(), 2);
        assert_eq!(cached.handle.followers(), 99);
        assert_eq!(cached.handle.stale_hits(), 100);
    }
}

#[tokio::test(start_paused = true)]
async fn stale_if_error_window_is_checked_when_the_failure_arrives() {
    let cached = Cached::new(exactly(s(10)).stale_if_error(s(20)));
    cached.get(7).await.unwrap();
    cached.source.does(Does::Fail(TestError::Failed));
    cached.source.takes(s(2));
    advance(s(29)).await;
    assert_eq!(cached.get(7).await, FAILED);
}

#[tokio::test(start_paused = true)]
async fn stale_windows_start_together_and_end_separately() {
    for (while_revalidate, if_error) in [(5, 20), (20, 5)] {
        let cache =
            exactly(s(10)).stale_while_revalidate(s(while_revalidate)).stale_if_error(s(if_error));
        let cached = Cached::new(cache.refresh_backoff(constant(s(1_000))));
        cached.source.does(Does::Answer);
        let value = cached.get(7).await;
        cached.source.does(Does::Fail(TestError::Failed));
        advance(s(10)).await;
        // Both windows are open: the entry is served, and one refresh fails.
        let before = cached.source.calls();
        assert_eq!(cached.get(7).await, value);
        settle().await;
        assert_eq!(cached.source.calls() - before, 1);
        advance(s(10)).await;
        // One window is over, the other is open.
        let before = cached.source.calls();
        assert_eq!(cached.get(7).await, value);
        let loads = usize::from(while_revalidate < if_error);
        assert_eq!(cached.source.calls() - before, loads, "one failed load, or none");
        advance(s(10)).await;
        assert_eq!(cached.get(7).await, FAILED);
    }
}

#[tokio::test(start_paused = true)]
async fn followers_of_a_failed_refresh_get_the_stale_entry_within_the_window() {
    let cache = exactly(s(10)).stale_while_revalidate(s(5)).stale_if_error(s(100));
    let cached = Cached::new(cache);
    cached.get(7).await.unwrap();
    cached.source.does(Does::Fail(TestError::Failed));
    cached.source.takes(s(10));
    advance(s(14)).await;
    assert_eq!(cached.get(7).await, Ok(1));
    sleep(s(2)).await;
    let all = cached.get_together(10, 7).await;
    assert_eq!(all, [Ok(1); 10]);
    assert_eq!(cached.source.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn fresh_and_stale_entries_are_served_while_a_throttle_rejects() {
    let limit = ThrottleLayer::concurrency(1);
    let throttle = limit.handle();
    let layer = DedupLayer::new().cache(exactly(s(10)).stale_if_error(s(20)));
    let handle = layer.handle();
    let service = ServiceBuilder::new()
        .layer(layer)
        .layer(limit)
        .service(service_fn(async |key: u32| Ok::<_, BoxError>(key)));
    let get = || service.clone().oneshot(7);
    assert_eq!(get().await.unwrap(), 7);
    throttle.set_limit(0);
    advance(s(5)).await;
    for _ in 0..100 {
        assert_eq!(get().await.unwrap(), 7);
    }
    assert_eq!(throttle.rejected(), 0);
    assert_eq!(handle.stale_hits(), 0);
    advance(s(5)).await;
    assert_eq!(get().await.unwrap(), 7);
    assert_eq!(throttle.rejected(), 1);
    assert_eq!(handle.stale_hits(), 1);
    advance(s(20)).await;
    let error = get().await.unwrap_err();
    assert_eq!(Rejection::find(&error).unwrap().reason(), Reason::Overloaded);
}

#[tokio::test(start_paused = true)]
async fn stale_entry_replaces_a_timeout_of_the_inner_service() {
    let source = Source::at_once();
    let source2 = source.clone();
    let layer = DedupLayer::new().cache(exactly(s(10)).stale_if_error(s(20)));
    let slow = service_fn(move |key: u32| {
        let source = source2.clone();
        async move { source.service().oneshot(key).await.map_err(BoxError::from) }
    });
    let service =
        ServiceBuilder::new().layer(layer).layer(DeadlineLayer::new(ms(20))).service(slow);
    let get = || service.clone().oneshot(7);
    assert_eq!(get().await.unwrap(), 1);
    source.takes(ms(50));
    advance(s(10)).await;
    let asked = Instant::now();
    assert_eq!(get().await.unwrap(), 1);
    assert_eq!(asked.elapsed(), ms(20));
    // The same if the deadline that passed in the inner layer is the caller's own.
    let mut hasty = task::spawn(Deadline::after(ms(10)).around(get()));
    assert_pending!(hasty.poll());
    assert_eq!(hasty.await.unwrap(), 1);
    assert_eq!(asked.elapsed(), ms(30));
    advance(s(20)).await;
    let error = get().await.unwrap_err();
    assert_eq!(Rejection::find(&error).unwrap().reason(), Reason::DeadlineExceeded);
}

/// moka, `value_initializer.rs`.
#[tokio::test(start_paused = true)]
async fn waiter_completes_the_flight_when_the_leader_leaves() {
    let cached = Cached::slow(exactly(s(10)));
    let loader = timeout(ms(20), cached.get(7));
    let (left, waited) = futures_util::future::join(loader, cached.get(7)).await;
    assert!(left.is_err());
    assert_eq!(waited, Ok(1));
    assert_eq!(cached.source.calls(), 1);
    assert_eq!(cached.get(7).await, Ok(1));
    assert_eq!(cached.source.calls(), 1, "the response is cached");
}

/// moka, `value_initializer.rs`.
#[tokio::test(start_paused = true)]
async fn abandoned_flights_leave_no_state_behind() {
    let cached = Cached::slow(exactly(s(10)));
    for _ in 0..300 {
        assert!(timeout(ms(20), cached.get(7)).await.is_err());
    }
    assert_eq!(cached.source.live(), 0);
    assert_eq!(snapshot(&cached.handle), counts!(DedupSnapshot { calls: 300, leaders: 300 }));
    assert_eq!(cached.get(7).await, Ok(301));
}

/// moka, `value_initializer.rs`.
#[tokio::test(start_paused = true)]
async fn panic_rejects_all_waiters_and_the_next_call_succeeds() {
    let cached = Cached::slow(exactly(s(10)));
    cached.source.does(Does::Panic);
    let panicked = Err(TestError::Rejected(Reason::Panicked));
    for outcome in join_all((0..10).map(|_| cached.get(7))).await {
        assert_eq!(outcome, panicked);
    }
    cached.source.does(Does::Answer);
    assert_eq!(cached.get(7).await, Ok(2));
    assert_eq!(cached.get(7).await, Ok(2));
}

/// A response whose second clone panics.
#[derive(Debug)]
struct Fragile(std::sync::Arc<std::sync::atomic::AtomicU32>);

impl Clone for Fragile {
    fn clone(&self) -> Self {
        let clones = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        assert!(clones > 0, "as told");
        Self(std::sync::Arc::clone(&self.0))
    }
}

#[tokio::test(start_paused = true)]
async fn response_is_returned_and_not_cached_when_its_clone_panics() {
    let layer = DedupLayer::new().cache(exactly(s(10)));
    let handle = layer.handle();
    let clones = std::sync::Arc::default();
    let service = layer.layer(service_fn(move |_: u32| {
        std::future::ready(Ok::<_, TestError>(Fragile(std::sync::Arc::clone(&clones))))
    }));
    assert!(service.clone().oneshot(7).await.is_ok());
    assert_eq!(snapshot(&handle), counts!(DedupSnapshot { calls: 1, leaders: 1 }));
    assert!(service.clone().oneshot(7).await.is_ok());
    assert!(service.oneshot(7).await.is_ok());
    let expected = counts!(DedupSnapshot {
        calls: 3,
        leaders: 2,
        cache_hits: 1,
        cache_entries: 1,
        cache_bytes: handle.cache_bytes()
    });
    assert_eq!(snapshot(&handle), expected);
}
