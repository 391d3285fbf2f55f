//! What has no end goes alone: connections that leave HTTP, and streams of events.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use axum::{Router, extract::Request, http::HeaderMap, response::Response, routing::get};
use buttress::{DedupLayer, HttpExt};
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, StatusCode,
    header::{ACCEPT, CONNECTION, CONTENT_TYPE, UPGRADE},
};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use loopback::{AnyBody, Streams, background, get_of, http1, nothing, serve, streams, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split};
use tower::{ServiceBuilder, ServiceExt};

/// Says back whatever comes, once the connection is its own.
async fn echo(mut request: Request) -> Response<AnyBody> {
    let upgrade = hyper::upgrade::on(&mut request);
    background(async move {
        let (mut reader, mut writer) = split(TokioIo::new(upgrade.await.unwrap()));
        copy(&mut reader, &mut writer).await
    });
    let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    let response = response.header(CONNECTION, "upgrade").header(UPGRADE, "echo");
    response.body(nothing()).unwrap()
}

#[tokio::test]
async fn each_upgraded_connection_is_separate_on_both_sides() {
    let (server, client) = (DedupLayer::new().http(), DedupLayer::new().http());
    let app = Router::new().route("/", get(echo)).layer(server.clone());
    let address = serve(app).await.unwrap();
    let transport = reqwest::Client::builder().no_proxy().build().unwrap();
    let stack = ServiceBuilder::new().layer(client.clone()).service(transport);
    let mut connections = Vec::new();
    for _ in 0..3 {
        let url = format!("http://{address}/").parse().unwrap();
        let mut request = reqwest::Request::new(Method::GET, url);
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        request.headers_mut().insert(UPGRADE, HeaderValue::from_static("echo"));
        let response = stack.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        connections.push(response.upgrade().await.unwrap());
    }
    for (connection, said) in connections.iter_mut().zip([b"one", b"two", b"six"]) {
        connection.write_all(said).await.unwrap();
        let mut heard = [0; 3];
        connection.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, said);
    }
    for handle in [server.handle(), client.handle()] {
        assert_eq!(handle.leaders(), 0);
        assert_eq!(handle.followers(), 0);
        assert_eq!(handle.bypassed(), 3);
    }
}

/// As a service may do that offers another protocol to whoever asks.
#[tokio::test]
async fn a_connection_that_hyper_hands_over_passes_through_a_client() {
    let app = Router::new().route("/", get(echo));
    let address = serve(app).await.unwrap();
    let stack = ServiceBuilder::new().layer(DedupLayer::new().http()).service(http1());
    let mut request = get_of(address, "");
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    request.headers_mut().insert(UPGRADE, HeaderValue::from_static("echo"));
    let response = stack.oneshot(request).await.unwrap();
    let mut connection = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    connection.write_all(b"one").await.unwrap();
    let mut heard = [0; 3];
    connection.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"one");
}

fn events(streams: &Streams) -> Response<AnyBody> {
    let mut response = streams.respond();
    let kind = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

async fn chunk(response: &mut Response<hyper::body::Incoming>) -> Bytes {
    response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test]
async fn each_caller_has_an_event_stream_of_its_own() {
    let none = HeaderMap::new();
    let accept = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("text/event-stream"))]);
    let last = HeaderName::from_static("last-event-id");
    let again = HeaderMap::from_iter([(last, HeaderValue::from_static("5"))]);
    for (headers, has_key) in [(none, true), (accept, false), (again, false)] {
        let layer = DedupLayer::new().http();
        let (streams, mut writers) = streams();
        let app = Router::new().route("/", get(async move || events(&streams)));
        let address = serve(app.layer(layer.clone())).await.unwrap();
        let client = http1();
        let subscribe = async || {
            let mut request = get_of(address, "");
            request.headers_mut().extend(headers.clone());
            client.request(request).await.unwrap()
        };
        let (mut first, mut second) = (subscribe().await, subscribe().await);
        let (one, other) = (writers.next().await, writers.next().await);
        one.write("data: one\n\n");
        assert_eq!(chunk(&mut first).await, "data: one\n\n");
        other.write("data: two\n\n");
        assert_eq!(chunk(&mut second).await, "data: two\n\n");
        assert_eq!(layer.handle().in_flight(), 0, "a stream can be joined");
        assert_eq!(layer.handle().bypassed(), if has_key { 0 } else { 2 });
        drop(first);
        one.abandoned().await;
        drop(other);
        until(|| layer.handle().waiters() == 0).await;
    }
}
