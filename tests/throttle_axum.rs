//! A limit on an axum server: how long a permit is held, and who waits for it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what helps a test may panic as the test may"
)]

use std::{future::pending, net::SocketAddr};

use axum::{
    Router,
    routing::{any, get},
};
use buttress::{Http, HttpExt, ThrottleLayer};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header::CONTENT_LENGTH};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use loopback::{AnyClient, Writers, http1, http2, nothing, serve, streams, until};
use tokio::task::JoinSet;

type Limit = ThrottleLayer<Http>;

fn limit(limit: u32) -> Limit {
    ThrottleLayer::concurrency(limit).http()
}

/// A server that answers `/` with bodies the test writes, behind `layer`.
async fn serve_streams(layer: &Limit) -> (SocketAddr, Writers) {
    let (streams, writers) = streams();
    let app = Router::new().route("/", any(async move || streams.respond())).layer(layer.clone());
    (serve(app).await.unwrap(), writers)
}

async fn send(client: &AnyClient, method: Method, url: String) -> hyper::Response<Incoming> {
    let request = Request::builder().method(method).uri(url).body(nothing()).unwrap();
    client.request(request).await.unwrap()
}

async fn fetch(address: SocketAddr) -> hyper::Response<Incoming> {
    send(&http1(), Method::GET, format!("http://{address}/")).await
}

async fn read(response: hyper::Response<Incoming>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn while_a_body_runs_others_are_answered_with_503_and_after_it_they_are_served() {
    let layer = limit(1);
    let (address, mut writers) = serve_streams(&layer).await;
    for round in 1..=3 {
        let first = fetch(address).await;
        let writer = writers.next().await;
        writer.write("one ");
        let rejected = fetch(address).await;
        assert_eq!(rejected.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(read(rejected).await.is_empty());
        writer.write("two");
        drop(writer);
        assert_eq!(read(first).await, "one two");
        let handle = layer.handle();
        assert_eq!(handle.in_flight(), 0);
        assert_eq!(handle.admitted(), round);
        assert_eq!(handle.rejected(), round);
    }
    assert!(writers.is_empty(), "a handler was reached without a permit");
}

#[tokio::test]
async fn a_body_that_fails_frees_its_permit() {
    let layer = limit(1);
    let (address, mut writers) = serve_streams(&layer).await;
    let response = fetch(address).await;
    writers.next().await.fail();
    response.into_body().collect().await.unwrap_err();
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_body_frees_its_permit() {
    for client in [http1, http2] {
        let layer = limit(1);
        let (address, mut writers) = serve_streams(&layer).await;
        let client = client();
        let mut body = send(&client, Method::GET, format!("http://{address}/")).await.into_body();
        let writer = writers.next().await;
        writer.write("one");
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
        assert_eq!(layer.handle().in_flight(), 1);
        drop(body);
        writer.abandoned().await;
        assert_eq!(layer.handle().in_flight(), 0);
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_frees_its_permit() {
    for client in [http1, http2] {
        let layer = limit(1);
        let app = Router::new().route("/", get(pending::<StatusCode>)).layer(layer.clone());
        let url = format!("http://{}/", serve(app).await.unwrap());
        let mut calls = JoinSet::new();
        calls.spawn(async move { send(&client(), Method::GET, url).await.status() });
        until(|| layer.handle().in_flight() == 1).await;
        calls.abort_all();
        until(|| layer.handle().in_flight() == 0).await;
    }
}

/// The server drops the connection, and its other calls go on.
#[tokio::test]
async fn a_handler_that_panics_frees_its_permit() {
    let layer = limit(1);
    let app = Router::new().route("/", get(panicking)).layer(layer.clone());
    let url = format!("http://{}/", serve(app).await.unwrap());
    for client in [http1(), http2()] {
        let request = Request::get(&url).body(nothing()).unwrap();
        client.request(request).await.unwrap_err();
        assert_eq!(layer.handle().in_flight(), 0);
        assert_eq!(layer.handle().rejected(), 0);
    }
}

async fn panicking() -> StatusCode {
    panic!("as told")
}

#[tokio::test]
async fn an_answer_without_a_body_holds_no_permit() {
    let layer = limit(1);
    let (streams, mut writers) = streams();
    let app = Router::new()
        .route("/none", get(async || StatusCode::NO_CONTENT))
        .route("/unchanged", get(async || StatusCode::NOT_MODIFIED))
        .route("/known", get(async || "of known length"))
        .route("/stream", get(async move || streams.respond()))
        .layer(layer.clone());
    let address = serve(app).await.unwrap();
    let cases = [
        (Method::GET, "none", StatusCode::NO_CONTENT),
        (Method::GET, "unchanged", StatusCode::NOT_MODIFIED),
        (Method::GET, "known", StatusCode::OK),
        (Method::HEAD, "known", StatusCode::OK),
        (Method::HEAD, "stream", StatusCode::OK),
    ];
    for client in [http1(), http2()] {
        for (method, path, status) in &cases {
            let url = format!("http://{address}/{path}");
            // Its body is not read: what the server has done is what counts.
            let response = send(&client, method.clone(), url).await;
            assert_eq!(response.status(), *status, "{method} {path}");
            let length = response.headers().get(CONTENT_LENGTH);
            assert!(*path != "known" || length.is_some_and(|length| length == "15"));
            until(|| layer.handle().in_flight() == 0).await;
        }
        // Its body would not have ended yet.
        writers.next().await.abandoned().await;
    }
}

#[tokio::test]
async fn a_permit_until_the_head_lets_bodies_run_side_by_side() {
    let layer = limit(1).until_head();
    let (address, mut writers) = serve_streams(&layer).await;
    let first = fetch(address).await;
    let second = fetch(address).await;
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(second.status(), StatusCode::OK);
    assert_eq!(layer.handle().in_flight(), 0);
    let (one, two) = (writers.next().await, writers.next().await);
    two.write("second");
    drop(two);
    assert_eq!(read(second).await, "second");
    one.write("first");
    drop(one);
    assert_eq!(read(first).await, "first");
}

#[tokio::test]
async fn a_call_in_the_queue_is_served_when_the_body_before_it_ends() {
    let layer = limit(1).queue(1);
    let (address, mut writers) = serve_streams(&layer).await;
    let first = fetch(address).await;
    let writer = writers.next().await;
    let mut queued = JoinSet::new();
    queued.spawn(async move { read(fetch(address).await).await });
    until(|| layer.handle().queued() == 1).await;
    assert_eq!(fetch(address).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(writers.is_empty(), "two streams at a time");
    drop(writer);
    let second = writers.next().await;
    second.write("at last");
    drop(second);
    assert_eq!(queued.join_next().await.unwrap().unwrap(), "at last");
    assert!(read(first).await.is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_the_queue_gives_its_place_up() {
    let layer = limit(1).queue(1);
    let (address, mut writers) = serve_streams(&layer).await;
    let first = fetch(address).await;
    let mut queued = JoinSet::new();
    queued.spawn(fetch(address));
    until(|| layer.handle().queued() == 1).await;
    queued.abort_all();
    until(|| layer.handle().queued() == 0).await;
    drop(writers.next().await);
    assert!(read(first).await.is_empty());
    assert_eq!(layer.handle().in_flight(), 0);
    assert_eq!(layer.handle().admitted(), 1);
    assert!(writers.is_empty(), "a call was made for nobody");
}
