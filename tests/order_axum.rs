//! Keyed order on an axum server: whose turn it is, and what a superseded client reads.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Body,
    handler::Handler,
    routing::{any, get},
};
use buttress::{Http, HttpExt, OrderHandle, OrderLayer, order};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use loopback::{AnyBody, AnyClient, Work, Writers, http1, http2, nothing, serve, streams, until};
use tokio::{task::JoinSet, time::timeout};

/// What a test that does not hang stays below by far.
const LONG: Duration = Duration::from_secs(20);

type Key = fn(&Request<Body>) -> Option<String>;
type Serial = OrderLayer<Http, order::Serial, String, Key>;
type Latest = OrderLayer<Http, order::Latest, String, Key>;

/// The user is in a header. A request without a user is not ordered.
fn user_of(request: &Request<Body>) -> Option<String> {
    Some(request.headers().get("x-user")?.to_str().ok()?.to_owned())
}

fn serial() -> Serial {
    OrderLayer::serial(user_of as Key).http()
}

fn latest() -> Latest {
    OrderLayer::latest(user_of as Key).http()
}

/// The places of a router where a layer can stand.
#[derive(Clone, Copy, Debug)]
enum Place {
    Router,
    Route,
    Handler,
}

const PLACES: [Place; 3] = [Place::Router, Place::Route, Place::Handler];

/// A server that answers `/a` and `/b` with bodies the test writes.
macro_rules! serve_streams {
    ($layer:expr, $place:expr) => {{
        let (streams, writers) = streams();
        let respond = move || {
            let streams = streams.clone();
            async move { streams.respond() }
        };
        let layer = $layer.clone();
        let app = match $place {
            Place::Router => Router::new()
                .route("/a", any(respond.clone()))
                .route("/b", any(respond))
                .layer(layer),
            Place::Route => Router::new()
                .route("/a", any(respond.clone()))
                .route("/b", any(respond))
                .route_layer(layer),
            Place::Handler => Router::new()
                .route("/a", any(respond.clone().layer(layer.clone())))
                .route("/b", any(respond.layer(layer))),
        };
        let address: SocketAddr = serve(app).await.unwrap();
        let writers: Writers = writers;
        (address, writers)
    }};
}

async fn send(
    client: AnyClient,
    address: SocketAddr,
    path: &str,
    user: Option<&str>,
) -> hyper::Response<Incoming> {
    let mut request = Request::builder().uri(format!("http://{address}{path}"));
    if let Some(user) = user {
        request = request.header("x-user", user);
    }
    timeout(LONG, client.request(request.body(nothing()).unwrap())).await.unwrap().unwrap()
}

async fn read(response: hyper::Response<Incoming>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

fn ann() -> String {
    "ann".to_owned()
}

#[tokio::test]
async fn calls_of_a_user_take_turns_over_all_routes_at_each_place_of_a_router() {
    for place in PLACES {
        let layer = serial();
        let (address, mut writers) = serve_streams!(layer, place);
        let first = send(http1(), address, "/a", Some("ann")).await;
        let writer = writers.next().await;
        let mut waiting = JoinSet::new();
        waiting.spawn(send(http1(), address, "/b", Some("ann")));
        until(|| layer.handle().waiting(&ann()) == 1).await;
        // Another user and a request without a user do not wait.
        for user in [Some("bob"), None] {
            let response = send(http1(), address, "/a", user).await;
            drop(writers.next().await);
            assert!(read(response).await.is_empty());
        }
        assert!(writers.is_empty(), "two calls of a user at once, {place:?}");
        writer.write("first");
        drop(writer);
        assert_eq!(read(first).await, "first");
        let second = waiting.join_next().await.unwrap().unwrap();
        drop(writers.next().await);
        assert!(read(second).await.is_empty());
        until(|| layer.handle().keys() == 0).await;
    }
}

#[tokio::test]
async fn call_beyond_the_queue_is_answered_with_503() {
    let layer = serial().queue(0);
    let (address, mut writers) = serve_streams!(layer, Place::Router);
    for client in [http1(), http2()] {
        let first = send(client.clone(), address, "/a", Some("ann")).await;
        let writer = writers.next().await;
        let full = send(client, address, "/b", Some("ann")).await;
        assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(read(full).await.is_empty());
        drop(writer);
        assert!(read(first).await.is_empty());
        until(|| layer.handle().keys() == 0).await;
    }
    assert_eq!(layer.handle().full(), 2);
}

#[tokio::test]
async fn client_that_leaves_the_queue_gives_its_place_up() {
    let layer = serial();
    let (address, mut writers) = serve_streams!(layer, Place::Router);
    let first = send(http1(), address, "/a", Some("ann")).await;
    let mut waiting = JoinSet::new();
    waiting.spawn(send(http1(), address, "/a", Some("ann")));
    until(|| layer.handle().waiting(&ann()) == 1).await;
    waiting.abort_all();
    until(|| layer.handle().waiting(&ann()) == 0).await;
    drop(writers.next().await);
    assert!(read(first).await.is_empty());
    until(|| layer.handle().keys() == 0).await;
    assert!(writers.is_empty(), "a call was made for no client");
}

#[tokio::test]
async fn client_that_leaves_in_the_middle_of_a_body_passes_the_turn_on() {
    for client in [http1, http2] {
        let layer = serial();
        let (address, mut writers) = serve_streams!(layer, Place::Router);
        let first = client();
        let response = send(first, address, "/a", Some("ann")).await;
        let writer = writers.next().await;
        let mut waiting = JoinSet::new();
        waiting.spawn(send(client(), address, "/a", Some("ann")));
        until(|| layer.handle().waiting(&ann()) == 1).await;
        drop(response);
        writer.abandoned().await;
        let second = waiting.join_next().await.unwrap().unwrap();
        drop(writers.next().await);
        assert!(read(second).await.is_empty());
    }
}

#[tokio::test]
async fn handler_that_panics_passes_the_turn_on() {
    let layer = serial();
    let work = Work::default();
    let panicking = {
        let work = work.clone();
        async move || -> StatusCode {
            assert!(work.call().await > 1, "as told");
            StatusCode::OK
        }
    };
    let app = Router::new().route("/", get(panicking)).layer(layer.clone());
    let address = serve(app).await.unwrap();
    let mut first = JoinSet::new();
    let request = Request::get(format!("http://{address}/")).header("x-user", "ann");
    first.spawn(http1().request(request.body(nothing()).unwrap()));
    until(|| work.running() == 1).await;
    let mut waiting = JoinSet::new();
    waiting.spawn(send(http1(), address, "/", Some("ann")));
    until(|| layer.handle().waiting(&ann()) == 1).await;
    work.allow(2);
    first.join_next().await.unwrap().unwrap().unwrap_err();
    assert_eq!(waiting.join_next().await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn answer_without_a_body_holds_no_turn() {
    let layer = serial().queue(0);
    let (streams, mut writers) = streams();
    let app = Router::new()
        .route("/none", get(async || StatusCode::NO_CONTENT))
        .route("/known", get(async || "of known length"))
        .route("/stream", get(async move || streams.respond()))
        .layer(layer.clone());
    let address = serve(app).await.unwrap();
    let cases = [(Method::GET, "none"), (Method::GET, "known"), (Method::HEAD, "stream")];
    for client in [http1(), http2()] {
        for (method, path) in &cases {
            let request = Request::builder().method(method).uri(format!("http://{address}/{path}"));
            let request = request.header("x-user", "ann").body(nothing()).unwrap();
            let response = client.request(request).await.unwrap();
            assert!(response.status().is_success(), "{method} {path}");
            until(|| layer.handle().keys() == 0).await;
        }
        // Its body would not have ended yet.
        writers.next().await.abandoned().await;
    }
}

#[tokio::test]
async fn turn_until_the_head_lets_bodies_run_side_by_side() {
    let layer = serial().until_head();
    let (address, mut writers) = serve_streams!(layer, Place::Router);
    let first = send(http1(), address, "/a", Some("ann")).await;
    let second = send(http1(), address, "/a", Some("ann")).await;
    let (one, two) = (writers.next().await, writers.next().await);
    two.write("second");
    drop(two);
    assert_eq!(read(second).await, "second");
    one.write("first");
    drop(one);
    assert_eq!(read(first).await, "first");
}

async fn answered_409_before_the_head(layer: Latest, client: fn() -> AnyClient) {
    let (work, handle) = (Work::default(), layer.handle());
    let search = {
        let work = work.clone();
        async move || work.call().await.to_string()
    };
    let address = serve(Router::new().route("/", get(search)).layer(layer)).await.unwrap();
    let mut older = JoinSet::new();
    older.spawn(send(client(), address, "/", Some("ann")));
    until(|| work.running() == 1).await;
    let mut newest = JoinSet::new();
    newest.spawn(send(client(), address, "/", Some("ann")));
    let superseded = older.join_next().await.unwrap().unwrap();
    assert_eq!(superseded.status(), StatusCode::CONFLICT);
    assert!(superseded.headers().get("retry-after").is_none());
    assert!(read(superseded).await.is_empty());
    until(|| work.calls() == 2).await;
    assert_eq!(work.running(), 1, "the work of the older call is gone");
    work.allow(1);
    assert_eq!(read(newest.join_next().await.unwrap().unwrap()).await, "2");
    assert_eq!(handle.superseded(), 1);
}

#[tokio::test]
async fn call_that_is_superseded_before_its_head_is_answered_with_409() {
    answered_409_before_the_head(latest(), http1).await;
    answered_409_before_the_head(latest(), http2).await;
}

/// OR-02. A server delivers no byte of a response after a later call of its user came.
async fn no_late_byte(handle: OrderHandle<String>, address: SocketAddr, mut writers: Writers) {
    for (round, client) in (1..).zip([http1, http2]) {
        let mut older = send(client(), address, "/a", Some("ann")).await.into_body();
        let writer = writers.next().await;
        writer.write("early");
        assert_eq!(older.frame().await.unwrap().unwrap().into_data().unwrap(), "early");
        let newest = send(client(), address, "/b", Some("ann")).await;
        let newer = writers.next().await;
        writer.write("late");
        let end = timeout(LONG, older.frame()).await.unwrap().unwrap();
        assert!(end.is_err(), "a late byte, or an end that passes for the whole: {end:?}");
        assert!(!matches!(older.frame().await, Some(Ok(_))), "nothing follows the error");
        writer.abandoned().await;
        newer.write("whole");
        drop(newer);
        assert_eq!(read(newest).await, "whole");
        until(|| handle.keys() == 0).await;
        assert_eq!(handle.superseded(), round);
    }
}

#[tokio::test]
async fn superseded_response_delivers_no_late_byte_at_each_place_of_a_router() {
    for place in PLACES {
        let layer = latest();
        let (address, writers) = serve_streams!(layer, place);
        no_late_byte(layer.handle(), address, writers).await;
    }
}

#[tokio::test]
async fn superseded_response_delivers_no_late_byte_beside_an_overlapping_call() {
    let layer = latest().overlapping();
    let (address, writers) = serve_streams!(layer, Place::Router);
    no_late_byte(layer.handle(), address, writers).await;
}

/// More than fits into the windows and the socket's buffers: 64 MiB, all of it ready.
async fn large() -> http::Response<AnyBody> {
    const CHUNK: Bytes = Bytes::from_static(&[b'x'; 16 * 1024]);
    let frames = (0..4096).map(|_| Ok(Frame::data(CHUNK)));
    http::Response::new(StreamBody::new(tokio_stream::iter(frames)).boxed_unsync())
}

/// O4: however much is buffered, and however slowly a client reads.
#[tokio::test]
async fn superseded_response_that_is_always_ready_ends_early() {
    for client in [http1, http2] {
        let layer = latest();
        let app = Router::new()
            .route("/large", get(large))
            .route("/small", get(async || "small"))
            .layer(layer.clone());
        let address = serve(app).await.unwrap();
        let mut older = send(client(), address, "/large", Some("ann")).await.into_body();
        older.frame().await.unwrap().unwrap();
        // The server waits for the window to open. The newest call comes in the meantime.
        let mut newest = JoinSet::new();
        newest.spawn(send(client(), address, "/small", Some("ann")));
        until(|| layer.handle().queued() == 1 || layer.handle().superseded() == 1).await;
        let mut read_bytes = 0;
        let error = loop {
            match timeout(LONG, older.frame()).await.unwrap() {
                Some(Ok(frame)) => read_bytes += frame.data_ref().map_or(0, Bytes::len),
                Some(Err(error)) => break Some(error),
                None => break None,
            }
        };
        assert!(read_bytes < 4096 * 16 * 1024, "all of it");
        assert!(error.is_some(), "a part of it must not pass for the whole");
        assert_eq!(read(newest.join_next().await.unwrap().unwrap()).await, "small");
        assert_eq!(layer.handle().superseded(), 1);
    }
}
