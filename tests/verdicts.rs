//! What the layers make of open circuits, spare attempts and unknown errors, over HTTP and gRPC.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    future::{Future, poll_fn, ready},
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use buttress::{
    Backoff, Budget, Cache, DedupLayer, HttpExt, Rate, Ratio, Reason, Rejection, RetryLayer,
    StopReason, ThrottleLayer,
    layer_api::{Attempt, Criticality, Origin},
    throttle::AcceptRatio,
};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header::RETRY_AFTER};
use http_body_util::Empty;
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

type Body = Empty<Bytes>;
type Times = Arc<Mutex<Vec<u128>>>;

const SECOND: Duration = Duration::from_secs(1);

/// An error of a type that the mode does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Opaque;

fn request(protocol: &str) -> Request<Body> {
    Request::get("http://host/").header("content-type", protocol).body(Body::new()).unwrap()
}

/// Runs `call` as a hedge does: as a spare attempt, in each poll.
async fn spare<F: Future>(call: F) -> F::Output {
    let mut call = pin!(call);
    poll_fn(|cx| Attempt::FIRST.next().spare().with(|| call.as_mut().poll(cx))).await
}

/// A service behind a circuit that is open for two seconds, and the times of the calls.
fn recovering()
-> (impl Service<Request<Body>, Response = Response<Body>, Error = Opaque> + Clone, Times) {
    let (times, start) = (Times::default(), Instant::now());
    let seen = Arc::clone(&times);
    let service = service_fn(move |request: Request<Body>| {
        seen.lock().unwrap().push(start.elapsed().as_millis());
        let mut response = Response::new(Body::new());
        if let Some(left) = (2 * SECOND).checked_sub(start.elapsed()).filter(|left| !left.is_zero())
        {
            let rejection = Rejection::new(Reason::CircuitOpen, Origin::new("breaker")).after(left);
            if request.headers().get("content-type").unwrap() == "application/grpc" {
                let headers = response.headers_mut();
                headers.insert("content-type", "application/grpc".parse().unwrap());
                headers.insert("grpc-status", "14".parse().unwrap());
                headers.insert("grpc-retry-pushback-ms", "2000".parse().unwrap());
            } else {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                response.headers_mut().insert(RETRY_AFTER, "2".parse().unwrap());
            }
            response.extensions_mut().insert(rejection);
        }
        ready(Ok(response))
    });
    (service, times)
}

/// C3. The layer reads the rejection, and not the `Retry-After` beside it.
#[tokio::test(start_paused = true)]
async fn retry_stops_at_an_open_circuit_and_waits_only_if_asked() {
    for protocol in ["text/plain", "application/grpc"] {
        let (service, times) = recovering();
        let retry = RetryLayer::new(3).budget(Budget::new(Ratio::ZERO, 0));
        let stops = retry.clone().http();
        stops.layer(service).oneshot(request(protocol)).await.unwrap();
        assert_eq!(*times.lock().unwrap(), [0]);
        assert_eq!(stops.handle().stopped(StopReason::Rejected), 1);

        let (service, times) = recovering();
        let waits = || retry.clone().wait_for_circuit().http();
        let stack = ServiceBuilder::new().layer(waits()).layer(waits()).service(service);
        assert_eq!(stack.oneshot(request(protocol)).await.unwrap().status(), StatusCode::OK);
        let times = times.lock().unwrap();
        assert_eq!(times.len(), 2, "{times:?}");
        assert!((2000..=3000).contains(&times[1]), "{times:?}");
    }
}

async fn serve(_: Request<Body>) -> Result<Response<Body>, Opaque> {
    sleep(SECOND).await;
    Ok(Response::new(Body::new()))
}

/// C2
#[tokio::test(start_paused = true)]
async fn spare_call_gets_a_response_of_the_limit_at_once() {
    let tenant = |request: &Request<Body>| Some(request.uri().host()?.to_owned());
    let limit = ThrottleLayer::concurrency(1).keyed(tenant).queue(9).http();
    let service = limit.layer(service_fn(serve));
    let mut running = pin!(service.clone().oneshot(request("text/plain")));
    assert!(poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx))).await.is_pending());
    let start = Instant::now();
    for (protocol, status, grpc) in [
        ("text/plain", StatusCode::SERVICE_UNAVAILABLE, None),
        ("application/grpc", StatusCode::OK, Some("14")),
    ] {
        let response = spare(service.clone().oneshot(request(protocol))).await.unwrap();
        let told = response.headers().get("grpc-status").map(|status| status.to_str().unwrap());
        assert_eq!((response.status(), told), (status, grpc));
        let rejection = response.extensions().get::<Rejection>().unwrap();
        assert_eq!(rejection.reason(), Reason::Overloaded);
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    let handle = limit.handle();
    assert_eq!((handle.queued(), handle.rejected(), handle.spare_refused()), (0, 0, 2));
}

/// C2
#[tokio::test(start_paused = true)]
async fn retry_in_a_spare_call_is_refused_by_a_rate_and_never_queued() {
    let rate = ThrottleLayer::rate(Rate::per_second(1).burst(1)).queue(9).http();
    let (retry, limits) = (RetryLayer::new(3).http(), rate.handle());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let service = ServiceBuilder::new().layer(retry.clone()).layer(rate).service_fn(
        move |request: Request<Body>| {
            let spare = Attempt::current().is_spare();
            notes.lock().unwrap().push((spare, wire(request.headers())));
            serve(request)
        },
    );
    service.clone().oneshot(request("application/grpc")).await.unwrap();
    // The cell is back after a second. The first attempt of the hedge takes it, that of the second
    // waits for the time that the refusal names, outside of the queue.
    for _ in 0..2 {
        let response = spare(service.clone().oneshot(request("application/grpc"))).await.unwrap();
        assert!(response.headers().get("grpc-status").is_none());
    }
    assert_eq!((limits.admitted(), limits.rejected()), (3, 0));
    assert_eq!(*seen.lock().unwrap(), [(false, None), (true, None), (true, None)]);
}

/// What the request tells the server of earlier attempts.
fn wire(headers: &HeaderMap) -> Option<String> {
    let told = headers.get("grpc-previous-rpc-attempts")?;
    Some(told.to_str().unwrap().to_owned())
}

/// C1, P2
#[tokio::test(start_paused = true)]
async fn error_of_an_unknown_type_is_neither_repeated_nor_an_answer() {
    let calls = Arc::new(Mutex::new(0));
    let count = Arc::clone(&calls);
    let service = service_fn(move |_: Request<Body>| {
        *count.lock().unwrap() += 1;
        ready(Err::<Response<Body>, _>(Opaque))
    });
    let retry = RetryLayer::new(3).backoff(Backoff::none()).http();
    let law = AcceptRatio::new().max_rejection(Ratio::percent(50));
    let limit = ThrottleLayer::accept_ratio_with(&law).seed(1).http();
    let stack =
        ServiceBuilder::new().layer(retry.clone()).layer(limit.clone()).service(service.clone());
    assert_eq!(stack.oneshot(request("text/plain")).await.unwrap_err(), Opaque);
    assert_eq!(*calls.lock().unwrap(), 1);
    assert_eq!(retry.handle().stopped(StopReason::NotRetryable), 1);
    assert!(limit.handle().rejection_probability(Criticality::Critical) > 0.0);

    let cache = Cache::new(SECOND).negative_ttl(SECOND);
    let stack = DedupLayer::new().cache(cache).share_errors().http().layer(service);
    for more in 1..=3 {
        assert_eq!(stack.clone().oneshot(request("text/plain")).await.unwrap_err(), Opaque);
        assert_eq!(*calls.lock().unwrap(), 1 + more, "a failure of the transport is not cached");
    }
}
