//! A fallback among the other layers of a client: outside the caller's deadline, around a retry and a
//! breaker, and on both sides of a cache.

use std::{
    future::{pending, ready},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use buttress::{
    Backoff, BoxError, Cache, DeadlineLayer, DedupLayer, Degraded, FallbackLayer, FallbackSnapshot,
    HttpExt, RetryLayer, Verdict, breaker::BreakerLayer,
};
use buttress_testkit::counts;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use loopback::{Origin, answer, ask_for, get_of, http1, read, serve};
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// Long enough to be there on a busy machine, short enough to wait for.
const SHORT: Duration = Duration::from_millis(50);
const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(20);

fn sorry() -> Response<Full<Bytes>> {
    Response::new(Full::from("sorry"))
}

#[tokio::test]
async fn fallback_outside_the_callers_deadline_answers_when_the_deadline_passes() {
    let address = serve(Router::new().route("/", get(pending::<StatusCode>))).await.unwrap();
    let layer = FallbackLayer::value(sorry()).http();
    let client = ServiceBuilder::new()
        .layer(layer.clone())
        .layer(DeadlineLayer::new(SHORT).http())
        .layer(RetryLayer::new(3).http())
        .layer(DeadlineLayer::new(LONG).named("attempt").http())
        .service(http1());
    let answer = client.oneshot(get_of(address, "")).await.unwrap();
    let degraded = answer.extensions().get::<Degraded>().unwrap();
    assert_eq!(degraded.instead_of, Verdict::TimedOut);
    assert_eq!(read(answer).await, "sorry");
    assert_eq!(layer.handle().snapshot(), counts!(FallbackSnapshot { calls: 1, answered: 1 }));
}

/// In the wrong order, the deadline outside has ended the call before the fallback could answer.
#[tokio::test(start_paused = true)]
async fn fallback_inside_the_callers_deadline_does_not_answer_when_it_passes() {
    let layer = FallbackLayer::value(7);
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(SECOND))
        .layer(layer.clone())
        .service(service_fn(|_: u32| pending::<Result<u32, BoxError>>()));
    service.oneshot(1).await.unwrap_err();
    assert_eq!(layer.handle().snapshot(), counts!(FallbackSnapshot { calls: 1 }));
}

#[tokio::test(start_paused = true)]
async fn fallback_answers_after_the_last_attempt_of_a_retry_inside() {
    let origin = Origin::new(|_, _| Ok(answer(StatusCode::BAD_GATEWAY, &[], "")));
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::value(sorry()).http())
        .layer(RetryLayer::new(3).backoff(Backoff::constant(SECOND)).http())
        .service(origin.clone());
    let answer = service.oneshot(ask_for("/")).await.unwrap();
    assert_eq!(read(answer).await, "sorry");
    assert_eq!(origin.calls(), 3);
}

/// An answer is a success to the layers outside.
#[tokio::test(start_paused = true)]
async fn retry_outside_a_fallback_makes_a_single_attempt() {
    let origin = Origin::new(|_, _| Ok(answer(StatusCode::BAD_GATEWAY, &[], "")));
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(3).http())
        .layer(FallbackLayer::value(sorry()).http())
        .service(origin.clone());
    let answer = service.oneshot(ask_for("/")).await.unwrap();
    assert_eq!(read(answer).await, "sorry");
    assert_eq!(origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn open_circuit_inside_is_answered_without_a_call() {
    let origin = Origin::new(|_, _| Ok(answer(StatusCode::BAD_GATEWAY, &[], "")));
    let layer = FallbackLayer::value(sorry()).http();
    let service = ServiceBuilder::new()
        .layer(layer.clone())
        .layer(BreakerLayer::new().consecutive(3).http())
        .service(origin.clone());
    let began = Instant::now();
    for _ in 0..20 {
        let answer = service.clone().oneshot(ask_for("/")).await.unwrap();
        assert_eq!(read(answer).await, "sorry");
    }
    assert_eq!(origin.calls(), 3);
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(layer.handle().answered(), 20);
}

/// An origin whose first call fails, and whose responses may be cached.
fn failing_once() -> Origin {
    Origin::new(|_, call| {
        let status = if call == 1 { StatusCode::BAD_GATEWAY } else { StatusCode::OK };
        Ok(answer(status, &[("cache-control", "max-age=60")], "fine"))
    })
}

#[tokio::test(start_paused = true)]
async fn answer_of_a_fallback_outside_a_cache_is_not_cached() {
    let origin = failing_once();
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::value(sorry()).http())
        .layer(DedupLayer::new().cache(Cache::new(LONG)).http())
        .service(origin.clone());
    for expected in ["sorry", "fine", "fine"] {
        let answer = service.clone().oneshot(ask_for("/")).await.unwrap();
        assert_eq!(read(answer).await, expected);
    }
    assert_eq!(origin.calls(), 2);
}

/// A cache outside sees the mark of the answer.
#[tokio::test(start_paused = true)]
async fn answer_of_a_fallback_inside_a_cache_is_not_cached() {
    let origin = failing_once();
    let service = ServiceBuilder::new()
        .layer(DedupLayer::new().cache(Cache::new(LONG)).http())
        .layer(FallbackLayer::value(cacheable()).http())
        .service(origin.clone());
    for expected in ["sorry", "fine", "fine"] {
        let answer = service.clone().oneshot(ask_for("/")).await.unwrap();
        assert_eq!(read(answer).await, expected);
    }
    assert_eq!(origin.calls(), 2);
}

/// A response that a cache would store, if it were not an answer of a fallback.
fn cacheable() -> Response<Full<Bytes>> {
    let mut response = sorry();
    let forever = http::HeaderValue::from_static("max-age=60");
    response.headers_mut().insert("cache-control", forever);
    response
}

/// Without HTTP, the cache sees the signal beside the answer.
#[tokio::test(start_paused = true)]
async fn answer_of_a_fallback_inside_a_plain_cache_is_not_cached() {
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let upstream = service_fn(move |_: u32| {
        let call = count.fetch_add(1, Ordering::Relaxed);
        ready(if call == 0 { Err(BoxError::from("down")) } else { Ok("fine") })
    });
    let service = ServiceBuilder::new()
        .layer(DedupLayer::new().cache(Cache::new(LONG)))
        .layer(FallbackLayer::value("sorry"))
        .service(upstream);
    for expected in ["sorry", "fine", "fine"] {
        assert_eq!(service.clone().oneshot(1).await.unwrap(), expected);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

/// The alternative answers in a later poll than the one in which the first service failed.
#[tokio::test(start_paused = true)]
async fn answer_of_an_alternative_inside_a_plain_cache_is_not_cached() {
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let replica = service_fn(move |_: u32| {
        count.fetch_add(1, Ordering::Relaxed);
        async {
            tokio::time::sleep(SECOND).await;
            Ok::<_, BoxError>("replica")
        }
    });
    let service = ServiceBuilder::new()
        .layer(DedupLayer::new().cache(Cache::new(LONG)))
        .layer(FallbackLayer::service(replica))
        .service(service_fn(|_: u32| ready(Err(BoxError::from("down")))));
    for call in 1..=3 {
        assert_eq!(service.clone().oneshot(1).await.unwrap(), "replica");
        assert_eq!(calls.load(Ordering::Relaxed), call);
    }
}
