//! A circuit breaker among other layers, on paused time.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress::{
    Backoff, BoxError, Deadline, DeadlineLayer, HttpExt, Reason, Rejection, RetryLayer, StopReason,
    ThrottleLayer,
    breaker::{BreakerLayer, CircuitState},
    http_grpc::ResponseHead,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

fn breaker() -> BreakerLayer {
    BreakerLayer::new().open_for(Backoff::constant(4 * SECOND))
}

fn rejection(error: &BoxError) -> Reason {
    Rejection::find(error).unwrap().reason()
}

/// CB-32, without waiting.
#[tokio::test(start_paused = true)]
async fn open_circuit_below_a_retry_is_one_rejection_without_a_wait_or_a_payment() {
    let (breaker, retry) = (breaker(), RetryLayer::new(3));
    let (circuit, retries) = (breaker.handle(), retry.handle());
    let service = ServiceBuilder::new()
        .layer(retry)
        .layer(breaker)
        .service(service_fn(async |()| Ok::<_, BoxError>(())));
    circuit.open();
    let balance = retries.budget().balance();
    for (calls, deadline) in (1..).zip([None, Some(SECOND), Some(10 * SECOND)]) {
        let start = Instant::now();
        let call = Deadline::with(deadline.map(Deadline::after), || service.clone().oneshot(()));
        assert_eq!(rejection(&call.await.unwrap_err()), Reason::CircuitOpen);
        assert_eq!(start.elapsed(), Duration::ZERO, "{deadline:?}");
        assert_eq!((circuit.rejected(), retries.retries()), (calls, 0), "{deadline:?}");
        assert_eq!(retries.stopped(StopReason::Rejected), calls);
    }
    assert!(retries.budget().balance() >= balance);
}

/// CB-32, with the option.
#[tokio::test(start_paused = true)]
async fn retry_that_waits_for_the_circuit_is_served_by_a_probe() {
    let (breaker, retry) = (breaker(), RetryLayer::new(3).wait_for_circuit());
    let (circuit, retries) = (breaker.handle(), retry.handle());
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(10 * SECOND))
        .layer(retry)
        .layer(breaker)
        .service(service_fn(async |()| Ok::<_, BoxError>(())));
    circuit.open();
    let start = Instant::now();
    service.oneshot(()).await.unwrap();
    let waited = start.elapsed();
    assert!((4 * SECOND..6 * SECOND + SECOND / 100).contains(&waited), "{waited:?}");
    assert_eq!((circuit.rejected(), circuit.state()), (1, CircuitState::HalfOpen));
    assert_eq!(retries.retries(), 1);
}

/// CO-03: the breaker sees each attempt.
#[tokio::test(start_paused = true)]
async fn three_attempts_are_three_calls_of_the_breaker() {
    let breaker = breaker();
    let circuit = breaker.handle();
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(3))
        .layer(breaker)
        .service(service_fn(async |()| Err::<(), BoxError>("down".into())));
    service.oneshot(()).await.unwrap_err();
    assert_eq!((circuit.counts().calls, circuit.counts().failures), (3, 3));
}

/// CO-03: an attempt that times out is a failure, and the end of the whole call is one failure.
#[tokio::test(start_paused = true)]
async fn attempt_that_times_out_is_a_failure_and_the_end_of_the_call_is_one() {
    for (attempt, total, failures) in [(SECOND, 60 * SECOND, 3), (60 * SECOND, SECOND, 1)] {
        let breaker = breaker();
        let circuit = breaker.handle();
        let service = ServiceBuilder::new()
            .layer(DeadlineLayer::new(total))
            .layer(RetryLayer::new(3))
            .layer(breaker)
            .layer(DeadlineLayer::new(attempt))
            .service(service_fn(async |()| {
                std::future::pending::<()>().await;
                Ok::<_, BoxError>(())
            }));
        let error = service.oneshot(()).await.unwrap_err();
        assert_eq!(rejection(&error), Reason::DeadlineExceeded);
        assert_eq!((circuit.counts().calls, circuit.counts().failures), (failures, failures));
    }
}

/// CO-04.
#[tokio::test(start_paused = true)]
async fn limit_below_a_breaker_does_not_open_the_circuit() {
    let breaker = breaker();
    let circuit = breaker.handle();
    let service = ServiceBuilder::new()
        .layer(breaker)
        .layer(ThrottleLayer::concurrency(0))
        .service(service_fn(async |()| Ok::<_, BoxError>(())));
    for _ in 0..100 {
        let error = service.clone().oneshot(()).await.unwrap_err();
        assert_eq!(rejection(&error), Reason::Overloaded);
    }
    assert_eq!((circuit.counts().calls, circuit.state()), (0, CircuitState::Closed));
}

type Page = Response<Full<Bytes>>;

/// The rejection of a layer inside is told from a 503 of the service by its response extension.
#[tokio::test(start_paused = true)]
async fn response_of_a_limit_below_is_neutral_and_that_of_the_service_is_a_failure_over_http() {
    let breaker = breaker().http();
    let circuit = breaker.handle();
    let limit = ThrottleLayer::concurrency(1).http();
    let service = ServiceBuilder::new().layer(breaker).layer(limit.clone()).service(service_fn(
        async |_: Request<Full<Bytes>>| {
            let mut response = Page::default();
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            Ok::<_, Infallible>(response)
        },
    ));
    limit.handle().set_limit(0);
    for _ in 0..100 {
        let response = service.clone().oneshot(Request::default()).await.unwrap();
        assert_eq!(response.rejection().unwrap().reason(), Reason::Overloaded);
    }
    assert_eq!(circuit.counts().calls, 0);
    limit.handle().set_limit(1);
    for _ in 0..5 {
        let response = service.clone().oneshot(Request::default()).await.unwrap();
        assert!(response.rejection().is_none());
    }
    assert_eq!(circuit.state(), CircuitState::Open);
}

/// A service that answers again after an outage is found by itself: the circuit has no timer to miss.
#[tokio::test(start_paused = true)]
async fn circuit_recovers_after_days_without_a_call() {
    let breaker = breaker();
    let circuit = breaker.handle();
    let failures = Arc::new(AtomicU32::new(5));
    let left = Arc::clone(&failures);
    let service = breaker.layer(service_fn(move |()| {
        let fails = left.load(Ordering::Relaxed) > 0;
        if fails {
            left.fetch_sub(1, Ordering::Relaxed);
        }
        async move { if fails { Err(BoxError::from("down")) } else { Ok(()) } }
    }));
    for _ in 0..5 {
        service.clone().oneshot(()).await.unwrap_err();
    }
    assert_eq!(circuit.state(), CircuitState::Open);
    advance(1_000_000 * SECOND).await;
    for _ in 0..10 {
        service.clone().oneshot(()).await.unwrap();
        sleep(SECOND).await;
    }
    assert_eq!(circuit.state(), CircuitState::Closed);
}
