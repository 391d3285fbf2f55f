//! The layers on an axum server, without a `HandleErrorLayer`.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    convert::Infallible,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, handler::Handler, response::Response, routing::get};
use buttress::{
    Backoff, Deadline, DeadlineLayer, DeadlineSnapshot, Http, HttpExt, RetryLayer,
    http_grpc::ResponseHead,
};
use buttress_testkit::counts;
use bytes::Bytes;
use http::{HeaderName, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use loopback::{AnyBody, http1, nothing, serve};
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tower::ServiceExt;

/// Long enough to be there on a busy machine, short enough to wait for.
const SHORT: Duration = Duration::from_millis(50);
/// What a test that does not hang stays below by far.
const LONG: Duration = Duration::from_secs(20);
const TIME_LEFT: HeaderName = HeaderName::from_static("x-request-timeout-ms");

async fn stuck() -> StatusCode {
    pending().await
}

async fn fetch(url: String) -> hyper::Response<Incoming> {
    http1().request(Request::get(url).body(nothing()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_slow_handler_is_answered_with_504() {
    let began = Instant::now();
    let app = Router::new().route("/", get(stuck)).layer(DeadlineLayer::new(SHORT).http());
    let address = serve(app).await.unwrap();
    let response = fetch(format!("http://{address}/")).await;
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
    assert!((SHORT..LONG).contains(&began.elapsed()));
}

#[tokio::test]
async fn a_deadline_layer_counts_over_all_routes_at_each_place_of_a_router() {
    let layer = DeadlineLayer::new(SHORT).http();
    let app = Router::new()
        .route("/router/a", get(stuck))
        .route("/router/b", get(stuck))
        .layer(layer.clone())
        .merge(Router::new().route("/route", get(stuck)).route_layer(layer.clone()))
        .route("/method", get(stuck).layer(layer.clone()))
        .route("/handler", get(stuck.layer(layer.clone())));
    let address = serve(app).await.unwrap();
    let paths = ["router/a", "router/b", "route", "method", "handler"];
    for (before, path) in paths.into_iter().enumerate() {
        assert_eq!(layer.handle().exceeded(), before as u64);
        let response = fetch(format!("http://{address}/{path}")).await;
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT, "{path}");
    }
    assert_eq!(layer.handle().exceeded(), 5);
}

/// axum lays the layer over the handler anew for each of these requests.
#[tokio::test]
async fn a_layer_counts_over_the_services_that_axum_makes_per_request() {
    let layer = DeadlineLayer::new(SHORT).http();
    let app: Router = Router::new()
        .route("/router", get(stuck).layer(layer.clone()))
        .route("/handler", get(stuck.layer(layer.clone())));
    for path in ["/router", "/handler", "/router", "/handler"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    }
    assert_eq!(layer.handle().exceeded(), 4);
}

#[tokio::test]
async fn a_streamed_response_is_cut_off_in_the_middle() {
    let layer = DeadlineLayer::new(SHORT).http();
    let app = Router::new().route("/", get(endless)).layer(layer.clone());
    let address = serve(app).await.unwrap();
    let response = fetch(format!("http://{address}/")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body();
    let mut received = Vec::new();
    // An end without an error would look as if the body were whole.
    while let Ok(frame) = body.frame().await.unwrap() {
        received.extend_from_slice(&frame.into_data().unwrap());
    }
    assert_eq!(received, b"one two three ");
    assert_eq!(layer.handle().exceeded(), 1);
}

#[tokio::test]
async fn a_deadline_until_the_head_lets_the_body_run() {
    let layer = DeadlineLayer::new(SHORT).until_head().http();
    let app = Router::new().route("/", get(slow_body)).layer(layer.clone());
    let address = serve(app).await.unwrap();
    let body = fetch(format!("http://{address}/")).await.into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "at last");
    assert_eq!(layer.handle().exceeded(), 0);
}

#[tokio::test]
async fn handler_and_body_see_the_remaining_deadline() {
    let app = Router::new().route("/", get(tell)).layer(DeadlineLayer::new(LONG).http());
    let address = serve(app).await.unwrap();
    let body = fetch(format!("http://{address}/")).await.into_body();
    let told = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let told: Vec<u128> = told.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(told.len(), 2);
    assert!(told[1] <= told[0]);
    assert!(told.iter().all(|left| (1..=LONG.as_micros()).contains(left)), "{told:?}");
}

#[tokio::test]
async fn the_callers_header_shortens_the_deadline() {
    let layer = DeadlineLayer::new(LONG).http_with(Http::new().timeout_header(TIME_LEFT));
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let handler = move || async move {
        counted.fetch_add(1, Ordering::Relaxed);
        stuck().await
    };
    let app = Router::new().route("/", get(handler)).layer(layer.clone());
    let address = serve(app).await.unwrap();
    for (left, calls_after) in [("50", 1), ("0", 1)] {
        let began = Instant::now();
        let request = Request::get(format!("http://{address}/")).header(TIME_LEFT, left);
        let response = http1().request(request.body(nothing()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
        assert!(began.elapsed() < LONG);
        assert_eq!(calls.load(Ordering::Relaxed), calls_after);
    }
    let expected = counts!(DeadlineSnapshot { calls: 2, expired: 1, exceeded: 1, rejected: 2 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test]
async fn a_rejection_stands_in_the_extensions_for_layers_further_out() {
    let named = DeadlineLayer::new(SHORT).named("patience").http();
    let app: Router = Router::new().route("/", get(stuck)).layer(named);
    let request = Request::get("/").body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    assert_eq!(response.rejection().unwrap().origin().name(), "patience");
}

#[tokio::test]
async fn a_handler_is_repeated_with_its_whole_body() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let handler = move |body: String| async move {
        match counted.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => Err(StatusCode::SERVICE_UNAVAILABLE),
            _ => Ok(body),
        }
    };
    let layer = RetryLayer::new(3).backoff(Backoff::none()).http();
    let app = Router::new().route("/", axum::routing::put(handler).layer(layer.clone()));
    let address = serve(app).await.unwrap();
    let body: AnyBody = loopback::chunks(&["first ", "second ", "third"]);
    let request = Request::put(format!("http://{address}/")).body(body).unwrap();
    let response = http1().request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let echoed = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(echoed, "first second third");
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    assert_eq!(layer.handle().retries(), 2);
}

async fn endless() -> Response {
    let chunks = tokio_stream::iter(["one ", "two ", "three "]);
    let chunks = chunks.map(|chunk| Ok::<_, Infallible>(Bytes::from_static(chunk.as_bytes())));
    Response::new(Body::from_stream(chunks.chain(tokio_stream::pending())))
}

async fn slow_body() -> Response {
    let chunk = tokio_stream::once(()).then(|()| async {
        tokio::time::sleep(4 * SHORT).await;
        Ok::<_, Infallible>(Bytes::from_static(b"at last"))
    });
    Response::new(Body::from_stream(chunk))
}

/// Two lines: what is left in the handler, and what is left when the body is polled.
async fn tell() -> Response {
    let line = || format!("{}\n", Deadline::current().unwrap().remaining().as_micros());
    let in_handler = line();
    let lines =
        tokio_stream::iter([in_handler]).chain(tokio_stream::once(()).map(move |()| line()));
    Response::new(Body::from_stream(lines.map(Ok::<_, Infallible>)))
}
