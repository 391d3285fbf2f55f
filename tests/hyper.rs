//! The layers on a client of hyper-util, over HTTP/1 and HTTP/2.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, routing::any};
use buttress::{
    Backoff, DeadlineLayer, HttpExt, Reason, RetryLayer, StopReason, http_grpc::ResponseHead,
};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use loopback::{AnyBody, AnyClient, background, chunks, http1, http2, listen, nothing, serve};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::Instant,
};
use tower::{ServiceBuilder, ServiceExt};

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(20);

/// Every body that was received whole.
type Received = Arc<Mutex<Vec<Bytes>>>;

/// 503 twice, then 200.
async fn third_time(State(received): State<Received>, body: Bytes) -> StatusCode {
    let mut received = received.lock().unwrap();
    received.push(body);
    if received.len() < 3 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

fn retry() -> RetryLayer {
    RetryLayer::new(3).backoff(Backoff::none())
}

fn request(method: Method, url: String, body: AnyBody) -> Request<AnyBody> {
    Request::builder().method(method).uri(url).body(body).unwrap()
}

async fn is_repeated_until_it_succeeds(
    client: AnyClient,
    method: Method,
    body: &'static [&'static str],
) {
    let received = Received::default();
    let app = Router::new().route("/", any(third_time)).with_state(Arc::clone(&received));
    let address = serve(app).await.unwrap();
    let layer = retry().http();
    let stack = ServiceBuilder::new().layer(DeadlineLayer::new(LONG).http()).layer(layer.clone());
    let body_to_send = if body.is_empty() { nothing() } else { chunks(body) };
    let request = request(method, format!("http://{address}/"), body_to_send);
    let response = stack.service(client).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(*received.lock().unwrap(), [body.concat(), body.concat(), body.concat()]);
    assert_eq!(layer.handle().retries(), 2);
}

#[tokio::test]
async fn a_get_is_repeated_over_http1() {
    is_repeated_until_it_succeeds(http1(), Method::GET, &[]).await;
}

#[tokio::test]
async fn a_get_is_repeated_over_http2() {
    is_repeated_until_it_succeeds(http2(), Method::GET, &[]).await;
}

#[tokio::test]
async fn a_put_is_repeated_with_its_whole_streamed_body_over_http1() {
    is_repeated_until_it_succeeds(http1(), Method::PUT, &["all ", "of ", "it"]).await;
}

#[tokio::test]
async fn a_put_is_repeated_with_its_whole_streamed_body_over_http2() {
    is_repeated_until_it_succeeds(http2(), Method::PUT, &["all ", "of ", "it"]).await;
}

#[tokio::test]
async fn a_post_that_was_answered_with_503_is_not_repeated() {
    let received = Received::default();
    let app = Router::new().route("/", any(third_time)).with_state(Arc::clone(&received));
    let address = serve(app).await.unwrap();
    let layer = retry().http();
    let request = request(Method::POST, format!("http://{address}/"), chunks(&["once"]));
    let response = layer_over(&layer, http1()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(received.lock().unwrap().len(), 1);
    assert_eq!(layer.handle().stopped(StopReason::NotIdempotent), 1);
}

#[tokio::test]
async fn a_post_refused_with_refused_stream_is_repeated() {
    let (address, listener) = listen().await.unwrap();
    let received = Received::default();
    background(refuse_the_first_stream(listener, Arc::clone(&received)));
    let layer = retry().http();
    let request = request(Method::POST, format!("http://{address}/"), chunks(&["paid ", "once"]));
    let response = layer_over(&layer, http2()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    // The stream that was refused counts too, with whatever had arrived of it.
    assert_eq!(received.lock().unwrap().len(), 2);
    assert_eq!(received.lock().unwrap()[1], "paid once");
    assert_eq!(layer.handle().retries(), 1);
}

#[tokio::test]
async fn a_post_cut_off_after_it_was_read_is_not_repeated() {
    let (address, listener) = listen().await.unwrap();
    let attempts = Arc::new(AtomicUsize::new(0));
    background(cut_off(listener, Arc::clone(&attempts), usize::MAX));
    let layer = retry().http();
    let request = request(Method::POST, format!("http://{address}/"), chunks(&["paid once"]));
    let error = layer_over(&layer, http1()).oneshot(request).await.unwrap_err();
    assert!(!error.is_connect());
    assert_eq!(attempts.load(Ordering::SeqCst), 1);
    assert_eq!(layer.handle().stopped(StopReason::NotIdempotent), 1);
}

#[tokio::test]
async fn a_get_cut_off_after_it_was_read_is_repeated() {
    let (address, listener) = listen().await.unwrap();
    let attempts = Arc::new(AtomicUsize::new(0));
    background(cut_off(listener, Arc::clone(&attempts), 2));
    let layer = retry().http();
    let request = request(Method::GET, format!("http://{address}/"), nothing());
    let response = layer_over(&layer, http1()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_post_whose_connection_is_refused_is_repeated() {
    let (address, listener) = listen().await.unwrap();
    drop(listener);
    let layer = retry().http();
    let request = request(Method::POST, format!("http://{address}/"), chunks(&["paid once"]));
    let error = layer_over(&layer, http1()).oneshot(request).await.unwrap_err();
    assert!(error.is_connect());
    // The first repetition of a call that was never processed is none of the three attempts.
    assert_eq!(layer.handle().retries(), 3);
}

#[tokio::test]
async fn an_upstream_that_never_answers_ends_with_a_rejection() {
    let address = serve(Router::new().fallback(pending::<StatusCode>)).await.unwrap();
    let began = Instant::now();
    let layers =
        ServiceBuilder::new().layer(DeadlineLayer::new(SHORT).http()).layer(retry().http());
    let request = request(Method::GET, format!("http://{address}/"), nothing());
    let response = layers.service(http1()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(response.rejection().unwrap().reason(), Reason::DeadlineExceeded);
    assert!((SHORT..LONG).contains(&began.elapsed()));
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_repeated() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let first_stuck = move || async move {
        match counted.fetch_add(1, Ordering::Relaxed) {
            0 => pending().await,
            _ => "at last",
        }
    };
    let address = serve(Router::new().fallback(first_stuck)).await.unwrap();
    let layers = ServiceBuilder::new()
        .layer(DeadlineLayer::new(LONG).http())
        .layer(retry().http())
        .layer(DeadlineLayer::new(10 * SHORT).named("attempt").http());
    let request = request(Method::GET, format!("http://{address}/"), nothing());
    let response = layers.service(http1()).oneshot(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "at last");
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

fn layer_over(
    layer: &RetryLayer<buttress::Http>,
    client: AnyClient,
) -> buttress::retry::Retry<AnyClient, buttress::Http> {
    ServiceBuilder::new().layer(layer.clone()).service(client)
}

/// Resets the first stream of each connection before it looked at it, and answers the others.
async fn refuse_the_first_stream(listener: TcpListener, received: Received) {
    let (socket, _) = listener.accept().await.unwrap();
    let mut connection = h2::server::handshake(socket).await.unwrap();
    let mut streams = 0;
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        streams += 1;
        if streams == 1 {
            received.lock().unwrap().push(Bytes::new());
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            continue;
        }
        let received = Arc::clone(&received);
        background(async move {
            let mut body = request.into_body();
            let mut whole = Vec::new();
            while let Some(Ok(chunk)) = body.data().await {
                let _ = body.flow_control().release_capacity(chunk.len());
                whole.extend_from_slice(&chunk);
            }
            received.lock().unwrap().push(whole.into());
            respond.send_response(http::Response::new(()), true).unwrap();
        });
    }
}

/// Reads each request to its end, and closes the connection instead of an answer, `times`.
async fn cut_off(listener: TcpListener, attempts: Arc<AtomicUsize>, times: usize) {
    loop {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !is_whole(&request) && socket.read_buf(&mut request).await.unwrap() > 0 {}
        if attempts.fetch_add(1, Ordering::SeqCst) >= times {
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    }
}

fn is_whole(request: &[u8]) -> bool {
    let chunked = request.starts_with(b"POST");
    request.ends_with(if chunked { b"\r\n0\r\n\r\n".as_slice() } else { b"\r\n\r\n" })
}
