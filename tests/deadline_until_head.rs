//! A deadline that ends at the response head does not reach past it, whatever carries it.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]
#![expect(clippy::disallowed_methods, reason = "a task is what a deadline is carried to")]

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use buttress::{
    Backoff, BoxError, Deadline, DeadlineLayer, DedupLayer, Http, HttpExt, Rejection, RetryLayer,
    ThrottleLayer,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use loopback::{AnyBody, read};
use tokio::time::{Instant, sleep};
use tokio_stream::StreamExt;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

const MS: Duration = Duration::from_millis(1);
const TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout-ms");

fn left() -> Option<Duration> {
    Deadline::current().map(Deadline::remaining)
}

fn get() -> Request<Full<Bytes>> {
    Request::get("http://example.com/").body(Full::default()).unwrap()
}

fn until_head(milliseconds: u32) -> DeadlineLayer<Http> {
    DeadlineLayer::new(milliseconds * MS).until_head().http_with(http())
}

fn within(milliseconds: u32) -> DeadlineLayer<Http> {
    DeadlineLayer::new(milliseconds * MS).http_with(http())
}

fn http() -> Http {
    Http::new().timeout_header(TIMEOUT)
}

/// A head after 10 ms that says in headers what was ambient and announced, and a body of three frames,
/// 40 ms apart, that say what is ambient for them. All in milliseconds.
async fn stream(request: Request<Full<Bytes>>) -> Result<Response<AnyBody>, Infallible> {
    let ambient = millis(left());
    let announced = request.headers().get(TIMEOUT).cloned();
    sleep(10 * MS).await;
    let frames = tokio_stream::iter(0..3).then(|_| async {
        sleep(40 * MS).await;
        Ok::<_, BoxError>(Frame::data(Bytes::from(format!("{} ", millis(left())))))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert("ambient", ambient.parse().unwrap());
    let announced = announced.unwrap_or(HeaderValue::from_static("-"));
    response.headers_mut().insert("announced", announced);
    Ok(response)
}

fn millis(left: Option<Duration>) -> String {
    left.map_or("-".to_owned(), |left| left.as_millis().to_string())
}

/// What was ambient and announced at the call, and what was ambient for the body.
async fn told<B>(response: Response<B>) -> (String, String, Result<String, BoxError>)
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    assert_eq!(response.status(), StatusCode::OK);
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    let (ambient, announced) = (header("ambient"), header("announced"));
    let body = response.into_body().collect().await.map_err(Into::into);
    (ambient, announced, body.map(|body| String::from_utf8(body.to_bytes().into()).unwrap()))
}

#[tokio::test(start_paused = true)]
async fn a_body_may_take_longer_than_a_deadline_until_the_head() {
    let response = until_head(50).layer(service_fn(stream)).oneshot(get()).await.unwrap();
    let (ambient, announced, body) = told(response).await;
    assert_eq!(ambient.as_str(), "50");
    assert_eq!(announced.as_str(), "-");
    assert_eq!(body.unwrap(), "- - - ");
}

#[tokio::test(start_paused = true)]
async fn a_layer_inside_does_not_carry_it_into_the_body() {
    for inner in [DeadlineLayer::propagate().http_with(http()), within(1000), until_head(40)] {
        let is_whole = inner.handle();
        let stack = ServiceBuilder::new().layer(until_head(50)).layer(inner).service_fn(stream);
        let (ambient, announced, body) = told(stack.oneshot(get()).await.unwrap()).await;
        assert!(["40", "50"].contains(&ambient.as_str()));
        assert_ne!(announced, "50");
        assert!(body.is_ok());
        assert_eq!(is_whole.exceeded(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_inside_keeps_its_own_deadline_for_the_body_and_announces_that() {
    let inner = within(100);
    let stack = ServiceBuilder::new().layer(until_head(50)).layer(inner.clone());
    let start = Instant::now();
    let response = stack.service_fn(stream).oneshot(get()).await.unwrap();
    let (ambient, announced, body) = told(response).await;
    assert_eq!(ambient.as_str(), "50");
    assert_eq!(announced.as_str(), "100");
    let error = body.unwrap_err();
    let rejection = Rejection::find(&error).unwrap();
    assert_eq!(rejection.deadline(), Some(Deadline::at(start + 100 * MS)));
    assert_eq!(start.elapsed(), 100 * MS);
    assert_eq!(inner.handle().exceeded(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_the_head_is_awaited_every_layer_inside_ends_at_it() {
    let outer = until_head(50);
    let stack = ServiceBuilder::new().layer(outer.clone()).layer(within(100)).service_fn(
        |_: Request<Full<Bytes>>| async {
            sleep(60 * MS).await;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        },
    );
    let start = Instant::now();
    let response = stack.oneshot(get()).await.unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(start.elapsed(), 50 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_retry_plans_with_it_and_a_queue_waits_under_it() {
    let retry = RetryLayer::new(9).backoff(Backoff::constant(60 * MS)).http();
    let stack = ServiceBuilder::new().layer(until_head(50)).layer(retry).service_fn(
        |_: Request<Full<Bytes>>| async {
            let mut response = Response::new(Full::<Bytes>::default());
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            Ok::<_, Infallible>(response)
        },
    );
    let start = Instant::now();
    let response = stack.oneshot(get()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(start.elapsed(), Duration::ZERO, "it does not sleep into the deadline");

    let queue = ThrottleLayer::concurrency(1).queue(1).http();
    let stack = ServiceBuilder::new().layer(until_head(50)).layer(queue).service_fn(stream);
    let held = stack.clone().oneshot(get()).await.unwrap();
    let refused = stack.oneshot(get()).await.unwrap();
    assert_eq!(refused.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(start.elapsed(), 60 * MS);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_of_a_retry_carries_it_into_the_body() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let stack = ServiceBuilder::new()
        .layer(until_head(50))
        .layer(RetryLayer::new(3).backoff(Backoff::constant(10 * MS)).http())
        .layer(within(1000))
        .service_fn(move |request: Request<Full<Bytes>>| {
            let is_first = attempts.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                if !is_first {
                    return stream(request).await;
                }
                let mut response = Response::new(AnyBody::default());
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                Ok(response)
            }
        });
    let (ambient, announced, body) = told(stack.oneshot(get()).await.unwrap()).await;
    assert_eq!(ambient.as_str(), "40");
    assert_eq!(announced.as_str(), "1000");
    assert_eq!(body.unwrap(), "950 910 870 ");
}

#[tokio::test(start_paused = true)]
async fn the_inherited_deadline_is_ambient_after_the_head() {
    let stack = ServiceBuilder::new()
        .layer(within(500))
        .layer(until_head(50))
        .layer(DeadlineLayer::propagate().http())
        .service_fn(stream);
    let (ambient, announced, body) = told(stack.oneshot(get()).await.unwrap()).await;
    assert_eq!(ambient.as_str(), "50");
    assert_eq!(announced.as_str(), "500");
    assert_eq!(body.unwrap(), "450 410 370 ");
}

#[tokio::test(start_paused = true)]
async fn the_announced_deadline_is_ambient_after_the_head() {
    let mut request = get();
    request.headers_mut().insert(TIMEOUT, HeaderValue::from_static("500"));
    let layer = until_head(50);
    let response = layer.layer(service_fn(stream)).oneshot(request).await.unwrap();
    let (ambient, announced, body) = told(response).await;
    assert_eq!(ambient.as_str(), "50");
    assert_eq!(announced.as_str(), "500");
    assert_eq!(body.unwrap(), "450 410 370 ");

    // It is ambient, and not the layer's own to enforce.
    let mut request = get();
    request.headers_mut().insert(TIMEOUT, HeaderValue::from_static("100"));
    let response = layer.layer(service_fn(stream)).oneshot(request).await.unwrap();
    assert_eq!(told(response).await.2.unwrap(), "50 10 0 ");
    assert_eq!(layer.handle().exceeded(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flight_does_not_carry_it_into_a_shared_body() {
    let stack = ServiceBuilder::new()
        .layer(until_head(50))
        .layer(DedupLayer::new().http_with(http()))
        .layer(within(1000))
        .service_fn(stream);
    let (a, b) = tokio::join!(stack.clone().oneshot(get()), stack.oneshot(get()));
    let (a, b) = tokio::join!(told(a.unwrap()), told(b.unwrap()));
    assert_eq!(a.0, "1000", "the flight goes by what its callers have for the whole call");
    assert_eq!(a.2.unwrap(), "950 910 870 ");
    assert_eq!(b.2.unwrap(), "950 910 870 ");
}

#[tokio::test(start_paused = true)]
async fn a_shared_body_is_polled_under_the_deadline_that_the_most_patient_reader_has_for_it() {
    let shared =
        ServiceBuilder::new().layer(DedupLayer::new().http_with(http())).service_fn(stream);
    let hurried = ServiceBuilder::new().layer(within(700)).layer(until_head(50));
    let patient = ServiceBuilder::new().layer(within(600));
    let (hurried, patient) = tokio::join!(
        hurried.service(shared.clone()).oneshot(get()),
        patient.service(shared).oneshot(get()),
    );
    let (hurried, patient) = tokio::join!(told(hurried.unwrap()), told(patient.unwrap()));
    assert_eq!(hurried.2.unwrap(), "650 610 570 ");
    assert_eq!(patient.2.unwrap(), "650 610 570 ");
}

#[tokio::test(start_paused = true)]
async fn a_spawned_task_sees_only_the_deadline_beyond_the_head() {
    let bare = until_head(50);
    let inherits = ServiceBuilder::new().layer(within(500)).layer(until_head(50));
    let spawns = service_fn(|_: Request<Full<Bytes>>| async {
        let inline = Deadline::scope(async { millis(left()) }).await;
        let spawned = tokio::spawn(Deadline::scope(async { millis(left()) })).await.unwrap();
        let around = Deadline::after(300 * MS).around(async { millis(left()) });
        let around = tokio::spawn(around).await.unwrap();
        let told = format!("{inline} {spawned} {around}");
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(told)))
    });
    let response = bare.layer(spawns).oneshot(get()).await.unwrap();
    assert_eq!(read(response).await, "50 - 300");
    let response = inherits.service(spawns).oneshot(get()).await.unwrap();
    assert_eq!(read(response).await, "50 500 300");
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_is_polled_before_the_head_and_by_the_body_does_not_carry_it_there() {
    let service = until_head(50).layer(service_fn(|_: Request<Full<Bytes>>| async {
        let mut part = Box::pin(Deadline::after(300 * MS).around(async {
            let before = millis(left());
            sleep(20 * MS).await;
            let told = format!("{before} {}", millis(left()));
            Ok::<_, BoxError>(Frame::data(Bytes::from(told)))
        }));
        let polled = poll_fn(|cx| Poll::Ready(part.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        let body = tokio_stream::once(part).then(|part| part);
        Ok::<_, Infallible>(Response::new(StreamBody::new(body)))
    }));
    let body = service.oneshot(get()).await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "50 280");
}

#[tokio::test(start_paused = true)]
async fn the_extension_holds_the_deadline_beyond_the_head() {
    let layer = DeadlineLayer::new(50 * MS).until_head();
    let layer = layer.http_with(Http::new().deadline_in_extensions());
    let stack = ServiceBuilder::new().layer(within(500)).layer(layer).service_fn(
        |request: Request<Full<Bytes>>| async move {
            let deadline = *request.extensions().get::<Deadline>().unwrap();
            assert_eq!(deadline.remaining(), 500 * MS);
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        },
    );
    assert_eq!(stack.oneshot(get()).await.unwrap().status(), StatusCode::OK);
}
