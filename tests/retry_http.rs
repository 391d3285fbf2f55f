//! A retry over HTTP and gRPC: the request's own deadline, its body, and the mark of a retry that gave up.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    future::{Future, Ready, ready},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use buttress::{
    Backoff, BoxError, Deadline, DeadlineLayer, DedupLayer, Http, HttpExt, Jitter, RetryLayer,
    StopReason,
    http_grpc::parse_grpc_timeout,
    layer_api::{Attempt, Verdict},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use loopback::{AnyBody, chunks};
use tokio::time::{Instant, Sleep, sleep};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

const MS: Duration = Duration::from_millis(1);
const NO_WAIT: Backoff = Backoff::none();

type Page = Response<Full<Bytes>>;

fn page(status: u16) -> Page {
    Response::builder().status(status).body(Full::from("page")).unwrap()
}

/// A gRPC response that is nothing but its trailers.
fn trailers_only(code: &str) -> Page {
    let response = Response::builder().header("content-type", "application/grpc");
    response.header("grpc-status", code).body(Full::default()).unwrap()
}

fn get() -> Request<String> {
    Request::get("/").body(String::new()).unwrap()
}

fn grpc(timeout: &str) -> Request<String> {
    let request = Request::post("/").header("content-type", "application/grpc");
    request.header("grpc-timeout", timeout).body(String::new()).unwrap()
}

fn every(delay: Duration) -> RetryLayer {
    RetryLayer::new(100).backoff(Backoff::constant(delay).jitter(Jitter::None))
}

/// The headers of each request, and when it came.
type Seen = Arc<Mutex<Vec<(Duration, HeaderMap)>>>;

/// Answers each request with `response`, and notes its headers and when it came.
fn noting(
    response: impl Fn() -> Page + Clone,
) -> (impl Service<Request<String>, Response = Page, Error = BoxError, Future: Send> + Clone, Seen)
{
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (notes, start) = (Arc::clone(&seen), Instant::now());
    let service = service_fn(move |request: Request<String>| {
        notes.lock().unwrap().push((start.elapsed(), request.headers().clone()));
        ready(Ok(response()))
    });
    (service, seen)
}

#[tokio::test(start_paused = true)]
async fn each_attempt_announces_what_is_left_of_the_deadline_that_came_with_the_request() {
    let (service, seen) = noting(|| trailers_only("14"));
    let layer = every(100 * MS).http();
    let response = layer.layer(service).oneshot(grpc("1S")).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "14");
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 10);
    for (at, headers) in seen.iter() {
        let announced = parse_grpc_timeout(headers["grpc-timeout"].as_bytes()).unwrap();
        assert_eq!(announced + *at, 1000 * MS);
    }
    assert_eq!(layer.handle().stopped(StopReason::Deadline), 1);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_in_the_chosen_header_is_the_calls_too() {
    let name = HeaderName::from_static("x-timeout-ms");
    let (service, seen) = noting(|| page(503));
    let layer = every(100 * MS).http_with(Http::new().timeout_header(name.clone()));
    let mut request = get();
    request.headers_mut().insert(name, "250".parse().unwrap());
    layer.layer(service).oneshot(request).await.unwrap();
    let announced: Vec<_> =
        seen.lock().unwrap().iter().map(|(_, headers)| headers["x-timeout-ms"].clone()).collect();
    assert_eq!(announced, ["250", "150", "50"]);
}

#[tokio::test(start_paused = true)]
async fn the_earlier_of_the_ambient_deadline_and_the_requests_own_holds() {
    for (ambient, own, attempts) in [(350, "1S", 4), (1000, "350m", 4)] {
        let (service, seen) = noting(|| trailers_only("14"));
        let inner = Arc::new(Mutex::new(Vec::new()));
        let ambients = Arc::clone(&inner);
        let watching = service_fn(move |request: Request<String>| {
            ambients.lock().unwrap().push(Deadline::current().map(Deadline::remaining));
            service.clone().oneshot(request)
        });
        let stack = ServiceBuilder::new().layer(every(100 * MS).http()).service(watching);
        Deadline::after(ambient * MS).around(stack.oneshot(grpc(own))).await.unwrap();
        assert_eq!(seen.lock().unwrap().len(), attempts);
        assert_eq!(*inner.lock().unwrap(), [350, 250, 150, 50].map(|left| Some(left * MS)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_readiness_ends_at_the_requests_own_deadline_with_the_last_answer() {
    /// Ready once.
    #[derive(Clone)]
    struct Once(Arc<Mutex<u32>>);

    impl Service<Request<String>> for Once {
        type Response = Page;
        type Error = BoxError;
        type Future = Ready<Result<Page, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            let mut polls = self.0.lock().unwrap();
            *polls += 1;
            if *polls == 1 { Poll::Ready(Ok(())) } else { Poll::Pending }
        }

        fn call(&mut self, _: Request<String>) -> Self::Future {
            ready(Ok(trailers_only("14")))
        }
    }

    let layer = every(100 * MS).http();
    let start = Instant::now();
    let service = layer.layer(Once(Arc::default()));
    let response = service.oneshot(grpc("1S")).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "14");
    assert_eq!(start.elapsed(), 1000 * MS);
    assert_eq!(layer.handle().retries(), 0);
}

/// Ready at once; each clone after the time of two calls.
struct Slow<S>(S, Option<Pin<Box<Sleep>>>);

impl<S: Clone> Clone for Slow<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), Some(Box::pin(sleep(2000 * MS))))
    }
}

impl<S: Service<Request<String>>> Service<Request<String>> for Slow<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if let Some(sleep) = &mut self.1 {
            std::task::ready!(sleep.as_mut().poll(cx));
        }
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<String>) -> S::Future {
        self.1 = None;
        self.0.call(request)
    }
}

/// The last answer has a body. So it was dropped before the wait, and cannot be returned.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_begins_after_its_deadline_does_not_announce_what_came() {
    const NAME: HeaderName = HeaderName::from_static("x-timeout-ms");
    let (service, seen) = noting(|| page(503));
    let layer = every(100 * MS).http_with(Http::new().timeout_header(NAME));
    let mut request = get();
    request.headers_mut().insert(NAME, HeaderValue::from_static("1000"));
    layer.layer(Slow(service, None)).oneshot(request).await.unwrap();
    let seen = seen.lock().unwrap();
    let announced = seen.iter().map(|(at, headers)| (*at, headers[&NAME].to_str().unwrap()));
    assert_eq!(announced.collect::<Vec<_>>(), [(Duration::ZERO, "1000"), (2000 * MS, "2")]);
}

#[tokio::test(start_paused = true)]
async fn a_transparent_attempt_is_not_announced() {
    let (service, seen) = noting(|| trailers_only("14"));
    let layer =
        RetryLayer::new(3).backoff(NO_WAIT).http().classify(|outcome: Result<&Page, &BoxError>| {
            match outcome {
                Ok(_) => Verdict::Transient,
                Err(_) => Verdict::NeverProcessed,
            }
        });
    let first = service_fn(move |request: Request<String>| {
        let service = service.clone();
        async move {
            if Attempt::current() == Attempt::FIRST {
                return Err(BoxError::from("refused"));
            }
            service.oneshot(request).await
        }
    });
    layer.layer(first).oneshot(grpc("9S")).await.unwrap();
    let seen = seen.lock().unwrap();
    let counts: Vec<_> = seen
        .iter()
        .map(|(_, headers)| headers.get("grpc-previous-rpc-attempts").cloned())
        .collect();
    let [none, one, two] = [None, Some("1"), Some("2")].map(|n| n.map(|n| n.parse().unwrap()));
    assert_eq!(counts, [none, one, two]);
}

/// The first attempt fails, and does not let go of its request until it is dropped; the second reads it.
#[derive(Clone, Default)]
struct Holding(Arc<Mutex<Option<Bytes>>>);

impl Service<Request<AnyBody>> for Holding {
    type Response = Page;
    type Error = BoxError;
    type Future = Attempting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<AnyBody>) -> Attempting {
        if Attempt::current() == Attempt::FIRST {
            return Attempting::Unread(Box::new(request));
        }
        let received = Arc::clone(&self.0);
        Attempting::Reading(Box::pin(async move {
            let body = request.into_body().collect().await?.to_bytes();
            *received.lock().unwrap() = Some(body);
            Ok(page(200))
        }))
    }
}

enum Attempting {
    #[expect(dead_code, reason = "held, and never read")]
    Unread(Box<Request<AnyBody>>),
    Reading(Pin<Box<dyn Future<Output = Result<Page, BoxError>> + Send>>),
}

impl Future for Attempting {
    type Output = Result<Page, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Unread(_) => Poll::Ready(Ok(page(503))),
            Self::Reading(reading) => reading.as_mut().poll(cx),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_an_ended_attempt_has_not_read_is_sent_again() {
    let (service, layer) = (Holding::default(), every(MS).http());
    let received = Arc::clone(&service.0);
    let request = Request::put("/").body(chunks(&["all ", "of it"])).unwrap();
    let response = layer.layer(service).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(received.lock().unwrap().take().unwrap(), "all of it");
    assert_eq!(layer.handle().stopped(StopReason::NotReplayable), 0);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_gave_up_on_a_side_call_does_not_stop_the_one_around_the_handler() {
    let (side, asked) = noting(|| page(503));
    let side = RetryLayer::new(2).backoff(NO_WAIT).http().layer(side);
    let handler = service_fn(move |_: Request<String>| {
        let side = side.clone();
        async move {
            // The outcome of the call on the side, and of the call itself, come in the same poll.
            let aside = side.oneshot(get()).await?;
            let second = Attempt::current().number() == 2;
            Ok::<_, BoxError>(page(if second { 200 } else { aside.status().as_u16() }))
        }
    });
    let layer = RetryLayer::new(2).backoff(NO_WAIT).http();
    let response = layer.layer(handler).oneshot(get()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(layer.handle().retries(), 1);
    assert_eq!(asked.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_side_call_that_failed_with_an_error_does_not_stop_it_either() {
    let side = service_fn(|_: Request<String>| ready(Err::<Page, _>(BoxError::from("down"))));
    let side = RetryLayer::new(2).backoff(NO_WAIT).http().layer(side);
    let handler = service_fn(move |_: Request<String>| {
        let side = side.clone();
        async move {
            let failed = side.oneshot(get()).await.is_err();
            let first = Attempt::current() == Attempt::FIRST;
            Ok::<_, BoxError>(page(if failed && first { 503 } else { 200 }))
        }
    });
    let layer = RetryLayer::new(2).backoff(NO_WAIT).http();
    let response = layer.layer(handler).oneshot(get()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn nested_retries_make_three_calls_through_each_layer_between_them() {
    let retry = || RetryLayer::new(3).backoff(NO_WAIT).http();
    let (service, seen) = noting(|| page(503));
    let stack = ServiceBuilder::new()
        .layer(retry())
        .layer(DeadlineLayer::new(1000 * MS).http())
        .layer(retry())
        .layer(DedupLayer::new().http())
        .layer(retry())
        .service(service_fn(move |request: Request<String>| {
            let service = service.clone();
            async move {
                sleep(MS).await;
                service.oneshot(request).await
            }
        }));
    let response = stack.oneshot(get()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(seen.lock().unwrap().len(), 3);
}
