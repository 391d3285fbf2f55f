//! Hedges on clients of hyper-util and reqwest, and on a service with an error type of its own.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "what helps a test may panic and spawn as the test may"
)]

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::HeaderMap, routing::any};
use buttress::{
    BoxError, Budget, Deadline, Http, HttpExt, Idempotent, Rejection,
    hedge::{HedgeLayer, WithheldCounts, WithheldReason},
};
use buttress_testkit::Script;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, channel::Channel};
use loopback::{AnyBody, chunks, http1, http2, nothing, serve, until_at_this_time};
use tokio::{task::JoinHandle, time::advance};
use tower::{Layer, Service, ServiceExt};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// The headers and bodies of the requests that arrived whole.
type Received = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// Never answers the first request, and answers all others with their bodies.
async fn first_hangs(
    State(received): State<Received>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Bytes) {
    let calls = {
        let mut received = received.lock().unwrap();
        received.push((headers, body.clone()));
        received.len()
    };
    if calls == 1 {
        std::future::pending::<()>().await;
    }
    (StatusCode::OK, body)
}

async fn server() -> (String, Received) {
    let received = Received::default();
    let app = Router::new().fallback(any(first_hangs)).with_state(Arc::clone(&received));
    (format!("http://{}/a", serve(app).await.unwrap()), received)
}

fn hedge() -> HedgeLayer<Http> {
    HedgeLayer::after(50 * MS).budget(Budget::unlimited()).http()
}

fn put(url: &str, body: AnyBody) -> Request<AnyBody> {
    Request::put(url).body(body).unwrap()
}

/// Makes a call, and lets 50 ms pass once the server has received the request.
async fn hedged<S, Req>(
    service: S,
    request: Req,
    received: &Received,
) -> JoinHandle<Result<S::Response, S::Error>>
where
    S: Service<Req, Future: Send, Response: Send + 'static, Error: Send + 'static> + Send + 'static,
    Req: Send + 'static,
{
    let call = tokio::spawn(service.oneshot(request));
    until_at_this_time(|| received.lock().unwrap().len() == 1).await;
    advance(51 * MS).await;
    call
}

/// The outcome of a call, without letting time pass.
async fn ended<T>(call: JoinHandle<T>) -> T {
    until_at_this_time(|| call.is_finished()).await;
    call.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn hyper_client_hedges_a_request_with_a_streamed_body() {
    for client in [http1, http2] {
        let (url, received) = server().await;
        let layer = hedge();
        let request = put(&url, chunks(&["all ", "of ", "the body"]));
        let call = hedged(layer.layer(client()), request, &received).await;
        let response = ended(call).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = tokio::spawn(response.into_body().collect());
        assert_eq!(ended(body).await.unwrap().to_bytes(), "all of the body");
        let bodies: Vec<_> =
            received.lock().unwrap().iter().map(|(_, body)| body.clone()).collect();
        assert_eq!(bodies, ["all of the body"; 2]);
        assert_eq!(layer.handle().won(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn request_that_is_not_idempotent_is_not_hedged() {
    let (url, received) = server().await;
    let layer = hedge();
    let request = Request::post(&url).body(chunks(&["order"])).unwrap();
    let call = hedged(layer.layer(http1()), request, &received).await;
    until_at_this_time(|| layer.handle().withheld(WithheldReason::NotIdempotent) == 1).await;
    assert!(!call.is_finished());
    assert_eq!(layer.handle().sent(), 0);
    // Marked, or with a key, the same request is hedged.
    let marked = Request::post(&url).extension(Idempotent).body(chunks(&["order"])).unwrap();
    let keyed = Request::post(&url).header("idempotency-key", "\"17\"").body(chunks(&["order"]));
    for request in [marked, keyed.unwrap()] {
        received.lock().unwrap().clear();
        let call = hedged(layer.layer(http1()), request, &received).await;
        assert_eq!(ended(call).await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(layer.handle().won(), 2);
}

#[tokio::test(start_paused = true)]
async fn body_of_70_kib_is_not_hedged() {
    let long = Bytes::from(vec![b'x'; 70 << 10]);
    let known = Full::new(long.clone()).map_err(|never| match never {}).boxed_unsync();
    let halves = [long.slice(..40 << 10), long.slice(40 << 10..)];
    let frames = halves.map(|half| Ok::<_, BoxError>(http_body::Frame::data(half)));
    let unknown = StreamBody::new(tokio_stream::iter(frames)).boxed_unsync();
    for body in [known, unknown] {
        let (url, received) = server().await;
        let layer = hedge();
        let call = hedged(layer.layer(http1()), put(&url, body), &received).await;
        until_at_this_time(|| layer.handle().withheld(WithheldReason::NotReplayable) == 1).await;
        assert!(!call.is_finished());
        assert_eq!((layer.handle().sent(), received.lock().unwrap().len()), (0, 1));
    }
}

/// The tee replays once the first try has read the body to its end.
#[tokio::test(start_paused = true)]
async fn body_that_is_still_being_read_is_not_hedged() {
    let (url, received) = server().await;
    let layer = hedge();
    let (mut sender, body) = Channel::<Bytes, BoxError>::new(1);
    let call = tokio::spawn(layer.layer(http1()).oneshot(put(&url, body.boxed_unsync())));
    sender.send_data(Bytes::from_static(b"half")).await.unwrap();
    until_at_this_time(|| layer.handle().calls() == 1).await;
    // The first poll that finds the call pending has passed.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    advance(51 * MS).await;
    until_at_this_time(|| layer.handle().withheld(WithheldReason::NotReplayable) == 1).await;
    drop(sender);
    until_at_this_time(|| received.lock().unwrap().len() == 1).await;
    assert!(!call.is_finished());
    assert_eq!(layer.handle().sent(), 0);
}

#[tokio::test(start_paused = true)]
async fn hedge_announces_the_deadline_anew() {
    let (url, received) = server().await;
    let http = Http::new().timeout_header(http::HeaderName::from_static("x-timeout-ms"));
    let layer = HedgeLayer::after(50 * MS).budget(Budget::unlimited()).http_with(http);
    let mut request = put(&url, nothing());
    request.headers_mut().insert("x-timeout-ms", 1000.into());
    let call = hedged(layer.layer(http1()), request, &received).await;
    assert_eq!(ended(call).await.unwrap().status(), StatusCode::OK);
    let sent: Vec<u32> = received
        .lock()
        .unwrap()
        .iter()
        .map(|(headers, _)| headers["x-timeout-ms"].to_str().unwrap().parse().unwrap())
        .collect();
    let [first, second] = sent[..] else { panic!("{sent:?}") };
    assert_eq!(first, 1000);
    assert!((900..=950).contains(&second), "{second}");
}

#[tokio::test(start_paused = true)]
async fn hedge_after_the_deadline_of_its_request_is_withheld() {
    let (url, received) = server().await;
    let http = Http::new().timeout_header(http::HeaderName::from_static("x-timeout-ms"));
    let layer = HedgeLayer::after(50 * MS).budget(Budget::unlimited()).http_with(http);
    let mut request = put(&url, nothing());
    request.headers_mut().insert("x-timeout-ms", 50.into());
    let call = hedged(layer.layer(http1()), request, &received).await;
    until_at_this_time(|| layer.handle().withheld(WithheldReason::Deadline) == 1).await;
    assert!(!call.is_finished());
    assert_eq!(layer.handle().sent(), 0);
}

/// A `Retry-After` of a hedge sets the time of the next.
#[tokio::test(start_paused = true)]
async fn hint_of_a_hedge_sets_the_time_of_the_next() {
    let received = Received::default();
    let answer = async |State(received): State<Received>, headers: HeaderMap, body: Bytes| {
        let calls = {
            let mut received = received.lock().unwrap();
            received.push((headers, body.clone()));
            received.len()
        };
        match calls {
            1 => std::future::pending().await,
            2 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]),
            _ => (StatusCode::OK, [("retry-after", "0")]),
        }
    };
    let app = Router::new().fallback(answer).with_state(Arc::clone(&received));
    let url = format!("http://{}/", serve(app).await.unwrap());
    let layer = hedge().at_most(2);
    let answers = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answers);
    let client = http1().map_response(move |response| {
        count.fetch_add(1, Ordering::Relaxed);
        response
    });
    let call = hedged(layer.layer(client), put(&url, nothing()), &received).await;
    until_at_this_time(|| answers.load(Ordering::Relaxed) == 1).await;
    advance(900 * MS).await;
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(received.lock().unwrap().len(), 2);
    advance(200 * MS).await;
    assert_eq!(ended(call).await.unwrap().status(), StatusCode::OK);
    assert_eq!((layer.handle().sent(), layer.handle().won()), (2, 1));
    assert_eq!(layer.handle().snapshot().withheld, WithheldCounts::default());
}

fn reqwest_client() -> reqwest::Client {
    reqwest::Client::builder().retry(reqwest::retry::never()).no_proxy().build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn reqwest_client_hedges_a_request_with_a_body() {
    let stream = || {
        let chunks = ["all ", "of it"].map(Ok::<_, std::io::Error>);
        reqwest::Body::wrap_stream(tokio_stream::iter(chunks))
    };
    for body in [reqwest::Body::from("all of it"), stream()] {
        let (url, received) = server().await;
        let layer = hedge();
        let mut request = reqwest::Request::new(Method::PUT, url.parse().unwrap());
        *request.body_mut() = Some(body);
        let call = hedged(layer.layer(reqwest_client()), request, &received).await;
        let response = ended(call).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.url().as_str(), url);
        let text = tokio::spawn(response.text());
        assert_eq!(ended(text).await.unwrap(), "all of it");
        assert_eq!(received.lock().unwrap().len(), 2);
        assert_eq!(layer.handle().won(), 1);
    }
}

/// An error enum of the user's own, which no layer knows.
#[derive(Clone, Debug, PartialEq)]
enum Own {
    Down,
    Rejected(String),
}

impl From<Rejection> for Own {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection.to_string())
    }
}

#[tokio::test(start_paused = true)]
async fn plain_service_keeps_its_own_error_type() {
    let upstream = Script::<String, u32, Own>::new().hang().error(Own::Down).ok(3).service();
    let layer = HedgeLayer::after(50 * MS).at_most(2).budget(Budget::unlimited());
    let answer = layer.layer(upstream).oneshot("a row".to_owned()).await;
    assert_eq!(answer, Ok(3));
    let upstream = Script::<String, u32, Own>::new().delay(60 * MS).error(Own::Down).service();
    let limit = Deadline::after(SECOND);
    let call = layer.layer(upstream).oneshot("a row".to_owned());
    assert_eq!(limit.around(call).await, Err(Own::Down));
}

/// A service without errors.
#[tokio::test(start_paused = true)]
async fn service_that_cannot_fail_is_hedged() {
    let upstream = Script::<u32, u32, Infallible>::new().hang().ok(2).service();
    let layer = HedgeLayer::after(50 * MS).budget(Budget::unlimited());
    assert_eq!(layer.layer(upstream).oneshot(1).await.unwrap(), 2);
}
