//! Permanent failures in the cache.

use buttress_core::{Origin, Reason, Rejection, Verdict};
use buttress_dedup::{DedupLayer, DedupSnapshot};
use buttress_testkit::{TestError, counts};
use tokio::time::advance;
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{Cached, Does, Source, cache, exactly, s, snapshot};

const NOT_FOUND: Result<u32, TestError> = Err(TestError::NotFound);

fn classify(outcome: Result<&u32, &TestError>) -> Verdict {
    match outcome {
        Ok(_) => Verdict::Success,
        Err(TestError::NotFound) => Verdict::Permanent,
        Err(_) => Verdict::Transient,
    }
}

/// RFC 2308, negative caching.
#[tokio::test(start_paused = true)]
async fn permanent_failure_is_cached_for_the_negative_ttl() {
    let cache = exactly(s(10)).negative_ttl(s(2)).classify(classify);
    let cached = Cached::over(Source::at_once(), &DedupLayer::new().cache(cache).share_errors());
    cached.source.does(Does::Fail(TestError::NotFound));
    assert_eq!(cached.get(7).await, NOT_FOUND);
    advance(s(1)).await;
    assert_eq!(cached.get(7).await, NOT_FOUND);
    assert_eq!(cached.source.calls(), 1);
    let expected = counts!(DedupSnapshot {
        calls: 2,
        leaders: 1,
        cache_hits: 1,
        cache_entries: 1,
        cache_bytes: cached.handle.cache_bytes()
    });
    assert_eq!(snapshot(&cached.handle), expected);
    advance(s(2)).await;
    cached.source.does(Does::Answer);
    assert_eq!(cached.get(7).await, Ok(2));
    advance(s(9)).await;
    assert_eq!(cached.get(7).await, Ok(2));
}

/// RFC 2308, negative caching.
#[tokio::test(start_paused = true)]
async fn response_classified_as_permanent_failure_is_cached_for_the_negative_ttl() {
    // The first response is 1.
    let classify = |outcome: Result<&u32, &TestError>| match outcome {
        Ok(1) => Verdict::Permanent,
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::Transient,
    };
    let cache = exactly(s(10)).negative_ttl(s(2)).classify(classify);
    let cached = Cached::new(cache);
    assert_eq!(cached.get(7).await, Ok(1));
    advance(s(1)).await;
    assert_eq!(cached.get(7).await, Ok(1));
    assert_eq!(cached.source.calls(), 1);
    advance(s(2)).await;
    assert_eq!(cached.get(7).await, Ok(2));
    assert_eq!(cached.source.calls(), 2);
    advance(s(9)).await;
    assert_eq!(cached.get(7).await, Ok(2));
    assert_eq!(cached.source.calls(), 2);
}

/// C1
#[tokio::test(start_paused = true)]
async fn unknown_failure_is_never_cached_and_a_stale_entry_replaces_it() {
    let classify = |outcome: Result<&u32, &TestError>| match outcome {
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::Unknown,
    };
    let cache = exactly(s(1)).negative_ttl(s(10)).stale_if_error(s(10)).classify(classify);
    let cached = Cached::over(Source::at_once(), &DedupLayer::new().cache(cache).share_errors());
    cached.source.does(Does::Fail(TestError::NotFound));
    assert_eq!(cached.get(7).await, NOT_FOUND);
    cached.source.does(Does::Answer);
    assert_eq!(cached.get(7).await, Ok(2), "the failure was not cached");
    advance(s(2)).await;
    cached.source.does(Does::Fail(TestError::NotFound));
    assert_eq!(cached.get(7).await, Ok(2));
    assert_eq!(cached.source.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn all_waiters_get_the_permanent_failure_that_is_cached() {
    let cache = exactly(s(10)).negative_ttl(s(2)).classify(classify);
    let cached = Cached::over(Source::new(), &DedupLayer::new().cache(cache).share_errors());
    cached.source.does(Does::Fail(TestError::NotFound));
    let all = futures_util::future::join_all((0..10).map(|_| cached.get(7))).await;
    assert!(all.into_iter().all(|outcome| outcome == NOT_FOUND));
    assert_eq!(cached.source.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn permanent_failure_is_not_cached_by_default() {
    let cache = exactly(s(10)).classify(classify);
    let cached = Cached::over(Source::at_once(), &DedupLayer::new().cache(cache).share_errors());
    cached.source.does(Does::Fail(TestError::NotFound));
    for calls in 1..=3 {
        assert_eq!(cached.get(7).await, NOT_FOUND);
        assert_eq!(cached.source.calls(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn other_failures_are_never_cached() {
    let rejected = Verdict::rejected("throttle", Reason::Overloaded, None);
    let verdicts = [
        Verdict::Transient,
        Verdict::TimedOut,
        Verdict::Throttled(None),
        Verdict::Expired,
        Verdict::NeverProcessed,
        rejected,
    ];
    for verdict in verdicts {
        for does in [Does::Answer, Does::Fail(TestError::Failed)] {
            let cache = exactly(s(10)).negative_ttl(s(10)).stale_if_error(s(10));
            let cached = Cached::over(
                Source::at_once(),
                &DedupLayer::new()
                    .cache(cache.classify(move |_: Result<&u32, &TestError>| verdict))
                    .share_errors(),
            );
            cached.source.does(does);
            let (first, second) = (cached.get(7).await, cached.get(7).await);
            assert_eq!(cached.source.calls(), 2, "{verdict:?}: {first:?}, {second:?}");
            assert_eq!(snapshot(&cached.handle), counts!(DedupSnapshot { calls: 2, leaders: 2 }));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rejection_by_a_layer_below_is_not_cached_by_default_classification() {
    let mut calls = 0;
    let rejects = service_fn(move |_: u32| {
        calls += 1;
        let rejection = Rejection::new(Reason::Overloaded, Origin::new("throttle"));
        std::future::ready(if calls == 1 { Err(rejection) } else { Ok(calls) })
    });
    // A clone of the service would have a counter of its own.
    let shared = std::sync::Arc::new(std::sync::Mutex::new(rejects));
    let inner =
        service_fn(move |request: u32| tower::Service::call(&mut *shared.lock().unwrap(), request));
    let cache = cache(s(10)).negative_ttl(s(10));
    let service = DedupLayer::new().cache(cache).share_errors().layer(inner);
    assert!(service.clone().oneshot(7).await.is_err());
    assert_eq!(service.oneshot(7).await.ok(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn unshared_error_is_not_cached() {
    let cache = || exactly(s(10)).negative_ttl(s(10)).classify(classify);
    let unshared = DedupLayer::new().cache(cache());
    let refused = DedupLayer::new().cache(cache()).share_errors_with(|_: &TestError| None);
    let source = Source::at_once;
    for cached in [Cached::over(source(), &unshared), Cached::over(source(), &refused)] {
        cached.source.does(Does::Fail(TestError::NotFound));
        assert_eq!(cached.get(7).await, NOT_FOUND);
        assert_eq!(cached.get(7).await, NOT_FOUND);
        assert_eq!(cached.source.calls(), 2);
        assert_eq!(snapshot(&cached.handle), counts!(DedupSnapshot { calls: 2, leaders: 2 }));
    }
}

#[tokio::test(start_paused = true)]
async fn cached_error_is_loaded_again_when_it_can_no_longer_be_shared() {
    let copies = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(2));
    let share = move |error: &TestError| {
        let left = |left: u32| left.checked_sub(1);
        let order = std::sync::atomic::Ordering::SeqCst;
        copies.fetch_update(order, order, left).ok().map(|_| *error)
    };
    let cache = exactly(s(10)).negative_ttl(s(10)).classify(classify);
    let cached =
        Cached::over(Source::at_once(), &DedupLayer::new().cache(cache).share_errors_with(share));
    cached.source.does(Does::Fail(TestError::NotFound));
    // One copy for the cache, and one for the hit.
    assert_eq!(cached.get(7).await, NOT_FOUND);
    assert_eq!(cached.source.calls(), 1);
    assert_eq!(cached.get(7).await, NOT_FOUND);
    assert_eq!(cached.source.calls(), 1);
    assert_eq!(cached.get(7).await, NOT_FOUND);
    assert_eq!(cached.source.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn cached_failure_is_never_served_stale() {
    let cache =
        exactly(s(10)).negative_ttl(s(2)).stale_while_revalidate(s(20)).stale_if_error(s(20));
    let cached = Cached::over(
        Source::at_once(),
        &DedupLayer::new().cache(cache.classify(classify)).share_errors(),
    );
    cached.source.does(Does::Fail(TestError::NotFound));
    assert_eq!(cached.get(7).await, NOT_FOUND);
    advance(s(3)).await;
    cached.source.does(Does::Fail(TestError::Failed));
    assert_eq!(cached.get(7).await, Err(TestError::Failed));
    assert_eq!(cached.source.calls(), 2);
    assert_eq!(snapshot(&cached.handle), counts!(DedupSnapshot { calls: 2, leaders: 2 }));
}
