//! A limit in the whole stack of a client: deadline, retry, throttle, deadline of an attempt.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use buttress::{
    Backoff, Deadline, DeadlineLayer, Http, HttpExt, Reason, RetryLayer, StopReason, ThrottleLayer,
    http_grpc::ResponseHead,
};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use loopback::{AnyBody, Writers, http1, http2, nothing, serve, streams, until};
use tokio::{task::JoinSet, time::Instant};
use tower::{ServiceBuilder, ServiceExt, service_fn};

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(20);

type Limit = ThrottleLayer<Http>;

fn limit(limit: u32) -> Limit {
    ThrottleLayer::concurrency(limit).http()
}

fn retry() -> RetryLayer<Http> {
    RetryLayer::new(3).backoff(Backoff::none()).http()
}

/// An upstream with bodies the test writes at `/`, and 503 twice of three times at `/flaky`.
async fn upstream() -> (SocketAddr, Writers) {
    let (streams, writers) = streams();
    let calls = Arc::new(AtomicUsize::new(1));
    let flaky = async move || match calls.fetch_add(1, Ordering::Relaxed) % 3 {
        0 => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let app =
        Router::new().route("/", get(async move || streams.respond())).route("/flaky", get(flaky));
    (serve(app).await.unwrap(), writers)
}

fn get_of(address: SocketAddr, path: &str) -> Request<AnyBody> {
    Request::get(format!("http://{address}/{path}")).body(nothing()).unwrap()
}

#[tokio::test]
async fn each_attempt_takes_a_permit_and_none_is_held_between_them() {
    let (address, _writers) = upstream().await;
    let (retry, layer) = (retry(), limit(1));
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(LONG).http())
        .layer(retry.clone())
        .layer(layer.clone())
        .layer(DeadlineLayer::new(LONG).named("attempt").http())
        .service(http1());
    for _ in 0..3 {
        let response = stack.clone().oneshot(get_of(address, "flaky")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(retry.handle().retries(), 6);
    assert_eq!(layer.handle().admitted(), 9);
    assert_eq!(layer.handle().rejected(), 0);
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test]
async fn a_retry_pays_nothing_for_what_the_limit_below_it_rejects() {
    let (address, mut writers) = upstream().await;
    let (retry, layer) = (retry(), limit(1).queue(1));
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(LONG).http())
        .layer(retry.clone())
        .layer(layer.clone())
        .layer(DeadlineLayer::new(LONG).named("attempt").http())
        .service(http1());
    let running = stack.clone().oneshot(get_of(address, "")).await.unwrap();
    let mut queued = JoinSet::new();
    queued.spawn(stack.clone().oneshot(get_of(address, "flaky")));
    until(|| layer.handle().queued() == 1).await;
    let before = retry.handle().budget().balance();
    for rejected in 1..=5 {
        let response = stack.clone().oneshot(get_of(address, "flaky")).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.rejection().unwrap().origin().layer(), "throttle");
        assert_eq!(retry.handle().stopped(StopReason::Rejected), rejected);
    }
    assert_eq!(retry.handle().retries(), 0);
    assert!(retry.handle().budget().balance() >= before);
    drop(writers.next().await);
    running.into_body().collect().await.unwrap();
    let served = queued.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(served.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_waiter_leaves_at_its_callers_deadline_with_one_verdict() {
    let (address, mut writers) = upstream().await;
    let layer = limit(1).queue(9);
    let patience = DeadlineLayer::new(SHORT).named("patience").http();
    let attempt = DeadlineLayer::new(LONG).named("attempt").http();
    let (retry, limited) = (retry(), ServiceBuilder::new().layer(layer.clone()));
    let limited = limited.layer(attempt.clone()).service(http1());
    let running = limited.clone().oneshot(get_of(address, "")).await.unwrap();
    let stack = ServiceBuilder::new().layer(patience.clone()).layer(retry.clone()).service(limited);
    for verdicts in 1..=5 {
        let began = Instant::now();
        let response = stack.clone().oneshot(get_of(address, "")).await.unwrap();
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(response.rejection().unwrap().reason(), Reason::DeadlineExceeded);
        assert!((SHORT..LONG).contains(&began.elapsed()));
        assert_eq!(layer.handle().rejected() + patience.handle().exceeded(), verdicts);
        assert_eq!(layer.handle().queued(), 0);
    }
    assert_eq!(retry.handle().retries(), 0);
    assert_eq!(attempt.handle().exceeded(), 0);
    drop(writers.next().await);
    running.into_body().collect().await.unwrap();
    assert!(writers.is_empty(), "a call was made for somebody who had left");
    assert_eq!(layer.handle().admitted(), 1);
    assert_eq!(layer.handle().in_flight(), 0);
}

/// Asked by a client that enforces no deadline itself, as a stub of tonic would.
#[tokio::test]
async fn a_waiter_on_a_server_leaves_at_its_callers_deadline_in_the_words_of_grpc() {
    let (layer, deadline) = (limit(1).queue(9), DeadlineLayer::new(LONG).http());
    let (streams, mut writers) = streams();
    let app = Router::new().fallback(async move || streams.respond()).layer(layer.clone());
    let address = serve(app.layer(deadline.clone())).await.unwrap();
    let running = http2().request(get_of(address, "")).await.unwrap();
    let mut request = get_of(address, "");
    request.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    request.headers_mut().insert("grpc-timeout", HeaderValue::from_static("50m"));
    let response = http2().request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["grpc-status"], "4");
    assert_eq!(layer.handle().rejected() + deadline.handle().exceeded(), 1);
    assert_eq!(layer.handle().admitted(), 1);
    assert_eq!(layer.handle().queued(), 0);
    drop(writers.next().await);
    running.into_body().collect().await.unwrap();
    assert!(writers.is_empty(), "a call was made for somebody who had left");
}

#[tokio::test]
async fn a_body_that_is_cut_off_at_its_deadline_frees_its_permit() {
    for deadline_is_outer in [true, false] {
        let (layer, deadline) = (limit(1), DeadlineLayer::new(10 * SHORT).http());
        let (streams, mut writers) = streams();
        let app = Router::new().route("/", get(async move || streams.respond()));
        let app = if deadline_is_outer {
            app.layer(layer.clone()).layer(deadline.clone())
        } else {
            app.layer(deadline.clone()).layer(layer.clone())
        };
        let address = serve(app).await.unwrap();
        let response = http1().request(get_of(address, "")).await.unwrap();
        let writer = writers.next().await;
        response.into_body().collect().await.unwrap_err();
        writer.abandoned().await;
        assert_eq!(layer.handle().in_flight(), 0);
        assert_eq!(deadline.handle().exceeded(), 1);
    }
}

/// A server's limit is its caller's failure, and paid for.
#[tokio::test]
async fn a_rejection_by_the_servers_limit_is_a_failure_to_its_client() {
    let layer = limit(1);
    let (streams, mut writers) = streams();
    let app = Router::new().route("/", get(async move || streams.respond())).layer(layer.clone());
    let address = serve(app).await.unwrap();
    let running = http1().request(get_of(address, "")).await.unwrap();
    let writer = writers.next().await;
    let retry = retry();
    let stack = ServiceBuilder::new().layer(retry.clone()).service(http1());
    let response = Deadline::after(LONG).around(stack.oneshot(get_of(address, ""))).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.rejection().is_none());
    assert_eq!(retry.handle().retries(), 2);
    assert_eq!(layer.handle().rejected(), 3);
    assert_eq!(retry.handle().stopped(StopReason::AttemptsUsed), 1);
    drop((writer, running));
}

/// The first attempt fails, and somebody else takes the permit before the second.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_was_paid_for_and_is_rejected_by_the_limit_gives_its_token_back() {
    let (retry, layer) = (RetryLayer::new(3).backoff(Backoff::constant(SHORT)), limit(1));
    let retry = retry.http();
    let limited = ServiceBuilder::new().layer(layer.clone()).service(service_fn(
        async |request: Request<String>| {
            if request.uri().path() == "/long" {
                tokio::time::sleep(LONG).await;
            }
            let mut response = Response::new(String::new());
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            Ok::<_, Infallible>(response)
        },
    ));
    let stack = ServiceBuilder::new().layer(retry.clone()).service(limited.clone());
    let before = retry.handle().budget().balance();
    let other = async {
        tokio::task::yield_now().await;
        limited.oneshot(Request::get("/long").body(String::new()).unwrap()).await.unwrap();
    };
    let call = async {
        let response = stack.oneshot(Request::default()).await.unwrap();
        assert_eq!(response.rejection().unwrap().reason(), Reason::Overloaded);
        assert_eq!(retry.handle().stopped(StopReason::Rejected), 1);
        assert!(retry.handle().budget().balance() >= before);
    };
    tokio::join!(call, other);
}
