//! A deadline ends a body that is always ready: in every place where a layer guards one.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what helps a test may panic as the test may"
)]

use std::{convert::Infallible, time::Duration};

use buttress::{
    Backoff, BoxError, DeadlineLayer, DeadlineSnapshot, DedupLayer, HttpExt, Reason, Rejection,
    RetryLayer, ThrottleLayer,
};
use buttress_testkit::counts;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use loopback::AnyBody;
use tokio::time::{Instant, advance};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

const MS: Duration = Duration::from_millis(1);
const FRAMES: u32 = 1000;

/// A body of [`FRAMES`] frames and trailers, all of which are there already.
fn always_ready() -> AnyBody {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = (0..FRAMES).map(|_| Frame::data(Bytes::from_static(b"frame")));
    let frames = frames.chain([Frame::trailers(trailers)]).map(Ok::<_, BoxError>);
    StreamBody::new(tokio_stream::iter(frames)).boxed_unsync()
}

/// A service that answers at once with such a body.
fn service<Req: Send + 'static>()
-> impl Service<Req, Response = Response<AnyBody>, Error = Infallible, Future: Send + 'static>
+ Clone
+ Send
+ 'static {
    service_fn(|_: Req| async { Ok(Response::new(always_ready())) })
}

fn get() -> Request<Full<Bytes>> {
    Request::get("http://example.com/").body(Full::default()).unwrap()
}

fn grpc() -> Request<Full<Bytes>> {
    let mut request = get();
    request.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    request
}

/// How a body ended.
#[derive(Debug)]
enum End {
    Error(BoxError),
    Trailers(HeaderMap),
    Ended,
}

/// How many frames of data there are, read 10 ms apart, and how it ends.
async fn read<B>(response: Response<B>) -> (u32, End)
where
    B: Body<Error: Into<BoxError>> + Unpin,
{
    let mut body = response.into_body();
    let mut frames = 0;
    loop {
        match body.frame().await {
            None => return (frames, End::Ended),
            Some(Err(error)) => return (frames, End::Error(error.into())),
            Some(Ok(frame)) => match frame.into_trailers() {
                Ok(trailers) => return (frames, End::Trailers(trailers)),
                Err(_) => frames += 1,
            },
        }
        advance(10 * MS).await;
    }
}

fn assert_too_late(end: &End) {
    let End::Error(error) = end else { panic!("{end:?}") };
    // A body that was shared wraps it.
    let rejection = Rejection::in_chain(error.as_ref()).unwrap();
    assert_eq!(rejection.reason(), Reason::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_always_ready_fails_at_the_first_frame_after_the_deadline() {
    let layer = DeadlineLayer::new(100 * MS).http();
    let start = Instant::now();
    let (frames, end) = read(layer.layer(service()).oneshot(get()).await.unwrap()).await;
    assert_too_late(&end);
    // One at the start, one every 10 ms, and one at the very deadline.
    assert_eq!(frames, 11);
    assert_eq!(start.elapsed(), 110 * MS);
    let expected = counts!(DeadlineSnapshot { calls: 1, exceeded: 1, rejected: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_grpc_body_that_is_always_ready_ends_with_deadline_exceeded() {
    let layer = DeadlineLayer::new(100 * MS).http();
    let (frames, end) = read(layer.layer(service()).oneshot(grpc()).await.unwrap()).await;
    let End::Trailers(trailers) = end else { panic!("{end:?}") };
    assert_eq!(frames, 11);
    assert_eq!(trailers["grpc-status"].as_bytes(), &b"4"[..]);
    assert_eq!(layer.handle().exceeded(), 1);
}

#[tokio::test(start_paused = true)]
async fn trailers_that_are_ready_after_the_deadline_are_not_handed_on() {
    let layer = DeadlineLayer::new((FRAMES - 1) * 10 * MS + 9 * MS).http();
    let (frames, end) = read(layer.layer(service()).oneshot(grpc()).await.unwrap()).await;
    let End::Trailers(trailers) = end else { panic!("{end:?}") };
    assert_eq!(frames, FRAMES);
    assert_eq!(trailers["grpc-status"].as_bytes(), &b"4"[..]);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_an_attempt_ends_a_body_that_is_always_ready() {
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(10_000 * MS).http())
        .layer(RetryLayer::new(3).backoff(Backoff::none()).http())
        .layer(ThrottleLayer::concurrency(10).http())
        .layer(DeadlineLayer::new(100 * MS).http())
        .service(service());
    let (frames, end) = read(stack.oneshot(get()).await.unwrap()).await;
    assert_too_late(&end);
    assert_eq!(frames, 11);
}

#[tokio::test(start_paused = true)]
async fn of_two_layers_with_one_deadline_the_inner_one_ends_the_body_and_counts_it() {
    for request in [get(), grpc()] {
        let outer = DeadlineLayer::new(100 * MS).named("outer").http();
        let inner = DeadlineLayer::propagate().named("inner").http();
        let stack = ServiceBuilder::new().layer(outer.clone()).layer(inner.clone());
        let (_, end) = read(stack.service(service()).oneshot(request).await.unwrap()).await;
        match end {
            End::Error(error) => {
                assert_eq!(Rejection::find(&error).unwrap().origin().name(), "inner");
            }
            End::Trailers(trailers) => {
                assert_eq!(trailers["grpc-message"], "deadline `inner`: deadline exceeded");
            }
            End::Ended => panic!("it ended in time"),
        }
        assert_eq!(outer.handle().exceeded(), 0);
        assert_eq!(inner.handle().exceeded(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_observed_deadline_hands_on_every_frame_and_counts_once() {
    let layer = DeadlineLayer::new(100 * MS).observe().http();
    let (frames, end) = read(layer.layer(service()).oneshot(grpc()).await.unwrap()).await;
    let End::Trailers(trailers) = end else { panic!("{end:?}") };
    assert_eq!(frames, FRAMES);
    assert_eq!(trailers["grpc-status"].as_bytes(), &b"0"[..]);
    assert_eq!(layer.handle().exceeded(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_until_the_head_hands_on_every_frame() {
    let layer = DeadlineLayer::new(100 * MS).until_head().http();
    let (frames, end) = read(layer.layer(service()).oneshot(get()).await.unwrap()).await;
    assert!(matches!(end, End::Trailers(_)), "{end:?}");
    assert_eq!(frames, FRAMES);
    assert_eq!(layer.handle().exceeded(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_above_a_shared_body_ends_it_for_its_own_reader_only() {
    let shared = ServiceBuilder::new().layer(DedupLayer::new().http()).service(service_fn(
        |_: Request<Full<Bytes>>| async {
            tokio::time::sleep(MS).await;
            Ok::<_, Infallible>(Response::new(always_ready()))
        },
    ));
    let hurried = DeadlineLayer::new(101 * MS).http().layer(shared.clone());
    let (hurried, patient) = tokio::join!(hurried.oneshot(get()), shared.oneshot(get()));
    let (frames, end) = read(hurried.unwrap()).await;
    assert_too_late(&end);
    assert_eq!(frames, 11);
    let (frames, end) = read(patient.unwrap()).await;
    assert!(matches!(end, End::Trailers(_)), "{end:?}");
    assert_eq!(frames, FRAMES);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_inside_a_flight_ends_the_shared_body_for_all_its_readers() {
    let shared = ServiceBuilder::new()
        .layer(DedupLayer::new().http())
        .layer(DeadlineLayer::new(100 * MS).http())
        .service(service());
    // A flight pulls its body as fast as the fastest reader does.
    let (a, b) = tokio::join!(shared.clone().oneshot(get()), shared.oneshot(get()));
    let (a, b) = (read(a.unwrap()).await, read(b.unwrap()).await);
    for (frames, end) in [a, b] {
        assert_too_late(&end);
        assert_eq!(frames, 11);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_reqwest_that_is_always_ready_ends_at_the_deadline() {
    let inner = service_fn(|_: reqwest::Request| async {
        let frames = (0..FRAMES).map(|_| Ok::<_, BoxError>(Bytes::from_static(b"frame")));
        let body = reqwest::Body::wrap_stream(tokio_stream::iter(frames));
        Ok::<_, reqwest::Error>(reqwest::Response::from(Response::new(body)))
    });
    let request = reqwest::Request::new(http::Method::GET, "http://example.com/".parse().unwrap());
    let mut response =
        DeadlineLayer::new(100 * MS).http().layer(inner).oneshot(request).await.unwrap();
    let mut frames = 0;
    let error = loop {
        match response.chunk().await {
            Ok(chunk) => frames += u32::from(chunk.is_some()),
            Err(error) => break error,
        }
        advance(10 * MS).await;
    };
    assert!(Rejection::in_chain(&error).is_some(), "{error:?}");
    assert_eq!(frames, 11);
}
