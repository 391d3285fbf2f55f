//! The layers on a client of reqwest, and on its connector.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    future::{Pending, pending},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, extract::State, routing::any};
use buttress::{
    Backoff, BoxError, DeadlineLayer, Http, HttpExt, Reason, Rejection, RetryLayer, StopReason,
    http_grpc::ResponseHead,
};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use loopback::serve;
use tokio::time::Instant;
use tower::{Service, ServiceBuilder, ServiceExt, layer::layer_fn};

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

async fn flaky_server() -> (String, Received) {
    let received = Received::default();
    let app = Router::new().route("/a", any(third_time)).with_state(Arc::clone(&received));
    (format!("http://{}/a?b=c", serve(app).await.unwrap()), received)
}

fn client() -> reqwest::Client {
    // Its own retry knows nothing of budgets and deadlines.
    reqwest::Client::builder().retry(reqwest::retry::never()).no_proxy().build().unwrap()
}

fn request(method: Method, url: &str) -> reqwest::Request {
    reqwest::Request::new(method, url.parse().unwrap())
}

fn retry() -> RetryLayer<Http> {
    RetryLayer::new(3).backoff(Backoff::none()).http()
}

#[tokio::test]
async fn a_get_is_repeated_and_its_response_knows_where_it_came_from() {
    let (url, received) = flaky_server().await;
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(LONG).http())
        .layer(retry())
        .layer(DeadlineLayer::new(LONG).named("attempt").http());
    let response = stack.service(client()).oneshot(request(Method::GET, &url)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.url().as_str(), url);
    assert_eq!(received.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_rejection_response_knows_the_url_of_its_request() {
    let address = serve(Router::new().fallback(pending::<StatusCode>)).await.unwrap();
    let url = format!("http://{address}/a?b=c");
    let began = Instant::now();
    let stack = ServiceBuilder::new().layer(DeadlineLayer::new(SHORT).http()).layer(retry());
    let response = stack.service(client()).oneshot(request(Method::GET, &url)).await.unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(response.rejection().unwrap().reason(), Reason::DeadlineExceeded);
    assert_eq!(response.url().as_str(), url);
    assert!((SHORT..LONG).contains(&began.elapsed()));
}

#[tokio::test]
async fn a_streamed_put_is_repeated_whole() {
    let (url, received) = flaky_server().await;
    let chunks = ["all ", "of ", "it"].map(Ok::<_, std::io::Error>);
    let mut request = request(Method::PUT, &url);
    *request.body_mut() = Some(reqwest::Body::wrap_stream(tokio_stream::iter(chunks)));
    let stack = ServiceBuilder::new().layer(retry()).service(client());
    assert_eq!(stack.oneshot(request).await.unwrap().status(), StatusCode::OK);
    assert_eq!(*received.lock().unwrap(), ["all of it"; 3]);
}

#[tokio::test]
async fn a_post_is_repeated_where_its_key_makes_that_harmless() {
    for (key, times) in [(None, 1), (Some(HeaderValue::from_static("\"8e03978e\"")), 3)] {
        let (url, received) = flaky_server().await;
        let mut request = request(Method::POST, &url);
        *request.body_mut() = Some("order".into());
        if let Some(key) = key {
            request.headers_mut().insert("idempotency-key", key);
        }
        let layer = retry();
        let stack = ServiceBuilder::new().layer(layer.clone()).service(client());
        stack.oneshot(request).await.unwrap();
        assert_eq!(*received.lock().unwrap(), vec!["order"; times]);
        assert_eq!(layer.handle().stopped(StopReason::NotIdempotent), u64::from(times == 1));
    }
}

#[tokio::test]
async fn a_post_whose_connection_is_refused_is_repeated() {
    let (address, listener) = loopback::listen().await.unwrap();
    drop(listener);
    let layer = retry();
    let stack = ServiceBuilder::new().layer(layer.clone()).service(client());
    let request = request(Method::POST, &format!("http://{address}/"));
    assert!(stack.oneshot(request).await.unwrap_err().is_connect());
    // The first repetition of a call that was never processed is none of the three attempts.
    assert_eq!(layer.handle().retries(), 3);
}

/// Without `.http()`: a connector's error is a `BoxError`, and stays one.
#[tokio::test]
async fn a_deadline_on_the_connector_ends_a_connect_that_hangs() {
    let layer = DeadlineLayer::new(SHORT).named("connect");
    let client = reqwest::Client::builder()
        .no_proxy()
        .connector_layer(layer_fn(Hanging))
        .connector_layer(layer.clone());
    let began = Instant::now();
    let error = client.build().unwrap().get("http://127.0.0.1:1/").send().await.unwrap_err();
    assert!((SHORT..LONG).contains(&began.elapsed()));
    let rejection = Rejection::in_chain(&error).unwrap();
    assert_eq!(rejection.reason(), Reason::DeadlineExceeded);
    assert_eq!(rejection.origin().name(), "connect");
    assert_eq!(layer.handle().exceeded(), 1);
}

#[tokio::test]
async fn a_deadline_on_the_connector_lets_a_connection_through() {
    let (url, received) = flaky_server().await;
    let client =
        reqwest::Client::builder().no_proxy().connector_layer(DeadlineLayer::new(LONG)).build();
    client.unwrap().get(url).send().await.unwrap();
    assert_eq!(received.lock().unwrap().len(), 1);
}

/// A connector that never connects.
#[derive(Clone)]
struct Hanging<S>(S);

impl<S: Service<Req, Error = BoxError>, Req> Service<Req> for Hanging<S> {
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pending<Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, _: Req) -> Self::Future {
        pending()
    }
}
