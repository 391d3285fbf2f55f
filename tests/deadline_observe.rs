//! An observed deadline changes neither what is ambient inside nor what goes on the wire.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use buttress::{
    Backoff, BoxError, Deadline, DeadlineLayer, DeadlineSnapshot, Http, HttpExt, RetryLayer,
    ThrottleLayer,
};
use buttress_testkit::counts;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use loopback::AnyBody;
use tokio::time::sleep;
use tokio_stream::StreamExt;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};

const MS: Duration = Duration::from_millis(1);
const TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout-ms");

/// What a service was told: the time left, its headers, and what was left after 60 ms of work.
type Told = (Option<Duration>, Option<String>, Option<Duration>);

fn left() -> Option<Duration> {
    Deadline::current().map(Deadline::remaining)
}

/// Works for 60 ms, and answers with what it was told, in the extensions.
async fn told(request: Request<Full<Bytes>>) -> Result<Response<AnyBody>, Infallible> {
    let before = left();
    let timeout = request.headers().get("grpc-timeout").or(request.headers().get(TIMEOUT));
    let timeout = timeout.map(|value| value.to_str().unwrap().to_owned());
    sleep(60 * MS).await;
    let told: Told = (before, timeout, left());
    let mut response = Response::new(Full::default().map_err(BoxError::from).boxed_unsync());
    response.extensions_mut().insert(told);
    Ok(response)
}

fn grpc(timeout: Option<&'static str>) -> Request<Full<Bytes>> {
    let mut request = Request::post("http://example.com/").body(Full::default()).unwrap();
    request.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    if let Some(timeout) = timeout {
        request.headers_mut().insert("grpc-timeout", HeaderValue::from_static(timeout));
    }
    request
}

fn observing(timeout: Duration) -> DeadlineLayer<Http> {
    DeadlineLayer::new(timeout).observe().http()
}

#[tokio::test(start_paused = true)]
async fn an_observed_deadline_is_neither_ambient_nor_announced() {
    let layer = observing(50 * MS);
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(200 * MS).http())
        .layer(layer.clone())
        .layer(DeadlineLayer::propagate().http())
        .service_fn(told);
    let response = stack.oneshot(grpc(None)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().contains_key("grpc-status"));
    let told = response.extensions().get::<Told>().unwrap();
    assert_eq!(*told, (Some(200 * MS), Some("200000u".to_owned()), Some(140 * MS)));
    assert_eq!(layer.handle().exceeded(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_observed_deadline_alone_leaves_nothing_ambient_and_announces_nothing() {
    let layer = observing(50 * MS);
    let response = layer.layer(service_fn(told)).oneshot(grpc(None)).await.unwrap();
    assert_eq!(*response.extensions().get::<Told>().unwrap(), (None, None, None));
    assert_eq!(layer.handle().exceeded(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_announced_deadline_is_observed_and_passed_on_unchanged() {
    let layer = observing(200 * MS);
    let response = layer.layer(service_fn(told)).oneshot(grpc(Some("50m"))).await.unwrap();
    let told = response.extensions().get::<Told>().unwrap();
    assert_eq!(*told, (None, Some("50m".to_owned()), None));
    assert_eq!(layer.handle().exceeded(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_comes_too_late_is_counted_and_passed_on_as_it_was() {
    let layer = observing(200 * MS);
    let response = layer.layer(service_fn(told)).oneshot(grpc(Some("0n"))).await.unwrap();
    let told = response.extensions().get::<Told>().unwrap();
    assert_eq!(*told, (None, Some("0n".to_owned()), None));
    let expected = counts!(DeadlineSnapshot { calls: 1, expired: 1, rejected: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_leaves_nothing_to_announce_is_counted_and_not_written() {
    let http = Http::new().deadline_margin(500 * MS).timeout_header(TIMEOUT);
    let layer = DeadlineLayer::new(500 * MS).observe().http_with(http);
    for request in [grpc(None), Request::new(Full::default())] {
        let response = layer.layer(service_fn(told)).oneshot(request).await.unwrap();
        assert_eq!(*response.extensions().get::<Told>().unwrap(), (None, None, None));
    }
    let expected = counts!(DeadlineSnapshot { calls: 2, expired: 2, rejected: 2 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_retry_inside_of_an_observed_deadline_does_not_give_up() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let retry = RetryLayer::new(5).backoff(Backoff::constant(100 * MS)).http();
    let stack = ServiceBuilder::new().layer(observing(50 * MS)).layer(retry).service_fn(
        move |_: Request<Full<Bytes>>| {
            let call = count.fetch_add(1, Ordering::SeqCst);
            let mut response = Response::new(Full::<Bytes>::default());
            if call < 4 {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            async { Ok::<_, Infallible>(response) }
        },
    );
    let request = Request::new(Full::<Bytes>::default());
    assert_eq!(stack.oneshot(request).await.unwrap().status(), StatusCode::OK);
    assert_eq!(calls.load(Ordering::SeqCst), 5);
}

#[tokio::test(start_paused = true)]
async fn a_queue_inside_of_an_observed_deadline_lets_its_calls_wait() {
    let layer = observing(50 * MS);
    let stack = ServiceBuilder::new()
        .layer(layer.clone())
        .layer(ThrottleLayer::concurrency(1).queue(1).http())
        .service_fn(told);
    let (first, second) =
        tokio::join!(stack.clone().oneshot(grpc(None)), stack.oneshot(grpc(None)));
    assert!(first.unwrap().extensions().get::<Told>().is_some());
    assert!(second.unwrap().extensions().get::<Told>().is_some());
    assert_eq!(layer.handle().exceeded(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_readiness_beyond_an_observed_deadline_is_counted_once() {
    let layer = DeadlineLayer::new(50 * MS).observe();
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::propagate())
        .layer(layer.clone())
        .layer(ConcurrencyLimitLayer::new(1))
        .service_fn(|(): ()| async {
            sleep(100 * MS).await;
            Ok::<_, BoxError>(left())
        });
    let first = stack.clone().oneshot(());
    let second = Deadline::after(1000 * MS).around(stack.oneshot(()));
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.unwrap(), None);
    assert_eq!(second.unwrap(), Some(800 * MS));
    let expected = counts!(DeadlineSnapshot { calls: 2, exceeded: 2, rejected: 2 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn an_observed_deadline_is_counted_once_over_call_and_body() {
    for slow_head in [true, false] {
        let layer = observing(50 * MS);
        let service = layer.layer(service_fn(move |_: Request<Full<Bytes>>| async move {
            sleep(if slow_head { 60 * MS } else { MS }).await;
            let frames = tokio_stream::iter(0..9).then(|_| async {
                sleep(20 * MS).await;
                assert_eq!(left(), None, "the body is not under it either");
                Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"frame")))
            });
            Ok::<_, Infallible>(Response::new(StreamBody::new(frames).boxed_unsync()))
        }));
        let response = service.oneshot(Request::new(Full::default())).await.unwrap();
        let body: Result<_, BoxError> = response.into_body().collect().await;
        assert_eq!(body.unwrap().to_bytes().len(), 45);
        let expected = counts!(DeadlineSnapshot { calls: 1, exceeded: 1, rejected: 1 });
        assert_eq!(layer.handle().snapshot(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_observed_layer_leaves_the_deadline_ambient_under_which_it_is_polled() {
    let mut service = DeadlineLayer::new(50 * MS).observe().layer(service_fn(|(): ()| async {
        sleep(10 * MS).await;
        Ok::<_, BoxError>(left())
    }));
    let call = service.ready().await.unwrap().call(());
    let seen = Deadline::after(30 * MS).around(call).await.unwrap();
    assert_eq!(seen, Some(20 * MS));
}
