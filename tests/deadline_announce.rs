//! A call for which no time is left to announce is rejected as expired, and is not sent.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress::{
    Deadline, DeadlineLayer, DeadlineSnapshot, Http, HttpExt, ThrottleLayer, deadline::Ratio,
    http_grpc::ResponseHead,
};
use buttress_testkit::counts;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::sleep;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

const MS: Duration = Duration::from_millis(1);
const US: Duration = Duration::from_micros(1);
const TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout-ms");

/// What each request announced that arrived, in either header.
type Arrived = Arc<Mutex<Vec<Option<HeaderValue>>>>;

/// A service that answers after `delay`.
fn service(
    delay: Duration,
) -> (
    Arrived,
    impl Service<
        Request<Full<Bytes>>,
        Response = Response<Full<Bytes>>,
        Error = Infallible,
        Future: Send,
    > + Clone,
) {
    let arrived = Arrived::default();
    let note = Arc::clone(&arrived);
    let service = service_fn(move |request: Request<Full<Bytes>>| {
        let headers = request.headers();
        let announced = headers.get("grpc-timeout").or_else(|| headers.get(TIMEOUT));
        note.lock().unwrap().push(announced.cloned());
        async move {
            sleep(delay).await;
            Ok(Response::new(Full::default()))
        }
    });
    (arrived, service)
}

fn plain() -> Request<Full<Bytes>> {
    Request::get("http://example.com/").body(Full::default()).unwrap()
}

fn grpc() -> Request<Full<Bytes>> {
    let mut request = plain();
    request.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    request
}

fn margin(milliseconds: u32) -> Http {
    Http::new().timeout_header(TIMEOUT).deadline_margin(milliseconds * MS)
}

#[tokio::test(start_paused = true)]
async fn a_call_without_time_to_announce_is_expired_and_not_sent() {
    for (timeout, http, request) in [
        (5 * MS, margin(5), grpc()),
        (5 * MS, margin(9), grpc()),
        (5 * MS, margin(5), plain()),
        (5 * MS + 999 * US, margin(5), plain()),
        (999 * US, margin(0), plain()),
    ] {
        let is_grpc = request.headers().contains_key("content-type");
        let layer = DeadlineLayer::new(timeout).http_with(http);
        let (arrived, service) = service(Duration::ZERO);
        let stack = ServiceBuilder::new().layer(layer.clone()).service(service);
        let response = stack.oneshot(request).await.unwrap();
        if is_grpc {
            assert_eq!(response.headers()["grpc-status"], "4");
        } else {
            assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
        }
        assert!(arrived.lock().unwrap().is_empty());
        let handle = layer.handle();
        let expected = counts!(DeadlineSnapshot { calls: 1, expired: 1, rejected: 1 });
        assert_eq!(handle.snapshot(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_least_time_that_can_be_announced_is_sent() {
    for (timeout, request, announced) in [
        (5 * MS + Duration::from_nanos(1), grpc(), "1n"),
        (6 * MS, plain(), "1"),
        (6 * MS + 999 * US, plain(), "1"),
    ] {
        let layer = DeadlineLayer::new(timeout).http_with(margin(5));
        let (arrived, service) = service(Duration::ZERO);
        let stack = ServiceBuilder::new().layer(layer).service(service);
        assert_eq!(stack.oneshot(request).await.unwrap().status(), StatusCode::OK);
        assert_eq!(arrived.lock().unwrap()[..], [Some(HeaderValue::from_static(announced))]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_serves_late_calls_announces_nothing_instead_of_zero() {
    let layer = DeadlineLayer::new(5 * MS).max_reject_ratio(Ratio::percent(0));
    let layer = layer.http_with(margin(5));
    for request in [grpc(), plain()] {
        let (arrived, service) = service(Duration::ZERO);
        let stack = ServiceBuilder::new().layer(layer.clone()).service(service);
        assert_eq!(stack.oneshot(request).await.unwrap().status(), StatusCode::OK);
        assert_eq!(arrived.lock().unwrap()[..], [None]);
    }
    let expected = counts!(DeadlineSnapshot { calls: 2, expired: 2, served_late: 2 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn the_shortest_deadline_is_sent_when_no_header_announces_it() {
    let layer = DeadlineLayer::new(US).http_with(Http::new().deadline_margin(5 * MS));
    let (arrived, service) = service(Duration::ZERO);
    let stack = ServiceBuilder::new().layer(layer).service(service);
    assert_eq!(stack.oneshot(plain()).await.unwrap().status(), StatusCode::OK);
    assert_eq!(arrived.lock().unwrap()[..], [None]);
}

#[tokio::test(start_paused = true)]
async fn a_call_from_a_queue_announces_what_the_wait_has_left() {
    for request in [grpc, plain] {
        let (arrived, service) = service(60 * MS);
        let stack = ServiceBuilder::new()
            .layer(DeadlineLayer::new(200 * MS).http_with(margin(0)))
            .layer(ThrottleLayer::concurrency(1).queue(9).http_with(margin(0)))
            .service(service);
        let (first, second) =
            tokio::join!(stack.clone().oneshot(request()), stack.oneshot(request()));
        assert_eq!((first.unwrap().status(), second.unwrap().status()), Default::default());
        let announced = arrived.lock().unwrap();
        let announced = announced.iter().map(|value| value.as_ref().unwrap().to_str().unwrap());
        let announced = announced.collect::<Vec<_>>();
        assert!(matches!(announced[..], ["200000u", "140000u"] | ["200", "140"]), "{announced:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_announced_time_ends_in_a_queue_is_not_sent() {
    let (arrived, service) = service(60 * MS);
    let throttle = ThrottleLayer::concurrency(1).queue(9).http();
    let stack = ServiceBuilder::new().layer(throttle.clone()).service(service);
    let mut hurried = grpc();
    hurried.headers_mut().insert("grpc-timeout", HeaderValue::from_static("60m"));
    let (first, second, third) = tokio::join!(
        stack.clone().oneshot(grpc()),
        stack.clone().oneshot(hurried),
        stack.oneshot(grpc())
    );
    assert!(!first.unwrap().headers().contains_key("grpc-status"));
    let refused = second.unwrap();
    assert_eq!(refused.headers()["grpc-status"], "4");
    assert!(refused.rejection().unwrap().deadline().is_some_and(Deadline::has_passed));
    assert!(!third.unwrap().headers().contains_key("grpc-status"));
    assert_eq!(arrived.lock().unwrap()[..], [None, None]);
    let handle = throttle.handle();
    assert_eq!(handle.in_flight(), 0);
    assert_eq!(handle.queued(), 0);
    assert_eq!(handle.rejected(), 1);
}
