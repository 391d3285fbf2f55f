//! A limit on clients of hyper-util and reqwest, and on their connectors.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Router,
    routing::{any, get},
};
use buttress::{
    BoxError, Http, HttpExt, Reason, Rejection, ThrottleLayer, http_grpc::ResponseHead,
};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use loopback::{AnyBody, AnyClient, Writers, http1, http2, listen, nothing, serve, streams, until};
use tokio::{sync::Semaphore, task::JoinSet};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, layer::layer_fn};

type Limit = ThrottleLayer<Http>;

fn limit(limit: u32) -> Limit {
    ThrottleLayer::concurrency(limit).named("upstream").http()
}

/// An upstream that answers `/` with bodies the test writes, and everything else with 204.
async fn upstream() -> (SocketAddr, Writers) {
    let (streams, writers) = streams();
    let app = Router::new()
        .route("/", get(async move || streams.respond()))
        .fallback(any(async || StatusCode::NO_CONTENT));
    (serve(app).await.unwrap(), writers)
}

fn get_of(address: SocketAddr, path: &str) -> Request<AnyBody> {
    Request::get(format!("http://{address}/{path}")).body(nothing()).unwrap()
}

async fn a_body_of_hyper_holds_its_permit(client: AnyClient) {
    let layer = limit(1);
    let handle = layer.handle();
    let (address, mut writers) = upstream().await;
    let client = layer.layer(client);

    let response = client.clone().oneshot(get_of(address, "")).await.unwrap();
    let rejected = client.clone().oneshot(get_of(address, "")).await.unwrap();
    assert_eq!(rejected.status(), StatusCode::SERVICE_UNAVAILABLE);
    let rejection = rejected.rejection().unwrap();
    assert_eq!(rejection.reason(), Reason::Overloaded);
    assert_eq!(rejection.origin().to_string(), "throttle `upstream`");
    let writer = writers.next().await;
    writer.write("all of it");
    drop(writer);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "all of it");
    assert_eq!(handle.in_flight(), 0);

    let dropped = client.clone().oneshot(get_of(address, "")).await.unwrap();
    assert_eq!(handle.in_flight(), 1);
    drop(dropped);
    assert_eq!(handle.in_flight(), 0);
    writers.next().await.abandoned().await;

    let broken = client.clone().oneshot(get_of(address, "")).await.unwrap();
    writers.next().await.fail();
    broken.into_body().collect().await.unwrap_err();
    assert_eq!(handle.in_flight(), 0);

    let bodiless = client.oneshot(get_of(address, "none")).await.unwrap();
    assert_eq!(bodiless.status(), StatusCode::NO_CONTENT);
    assert_eq!(handle.in_flight(), 0);
    assert_eq!(handle.admitted(), 4);
    assert_eq!(handle.rejected(), 1);
}

#[tokio::test]
async fn over_http1_a_call_holds_its_permit_until_the_body_ends_fails_or_is_dropped() {
    a_body_of_hyper_holds_its_permit(http1()).await;
}

#[tokio::test]
async fn over_http2_a_call_holds_its_permit_until_the_body_ends_fails_or_is_dropped() {
    a_body_of_hyper_holds_its_permit(http2()).await;
}

#[tokio::test]
async fn a_call_whose_connection_is_refused_holds_no_permit() {
    let (address, listener) = listen().await.unwrap();
    drop(listener);
    let layer = limit(1);
    for _ in 0..3 {
        let error = layer.layer(http1()).oneshot(get_of(address, "")).await.unwrap_err();
        assert!(error.is_connect());
        let request = reqwest::Request::new(Method::GET, url(address));
        let error = layer.layer(client_of_reqwest()).oneshot(request).await.unwrap_err();
        assert!(error.is_connect());
    }
    assert_eq!(layer.handle().in_flight(), 0);
    assert_eq!(layer.handle().rejected(), 0);
}

#[tokio::test]
async fn a_call_in_the_queue_is_sent_when_the_body_before_it_has_been_read() {
    let layer = limit(1).queue(1);
    let (address, mut writers) = upstream().await;
    let client = layer.layer(http1());
    let first = client.clone().oneshot(get_of(address, "")).await.unwrap();
    let mut queued = JoinSet::new();
    queued.spawn(client.oneshot(get_of(address, "")));
    until(|| layer.handle().queued() == 1).await;
    drop(writers.next().await);
    assert!(writers.is_empty(), "two calls at a time");
    first.into_body().collect().await.unwrap();
    let second = queued.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(second.status(), StatusCode::OK);
}

fn client_of_reqwest() -> reqwest::Client {
    reqwest::Client::builder().retry(reqwest::retry::never()).no_proxy().build().unwrap()
}

fn url(address: SocketAddr) -> reqwest::Url {
    format!("http://{address}/").parse().unwrap()
}

#[tokio::test]
async fn a_call_of_reqwest_holds_its_permit_until_the_body_ends_or_is_dropped() {
    let layer = limit(1);
    let handle = layer.handle();
    let (address, mut writers) = upstream().await;
    let client = layer.layer(client_of_reqwest());
    let call = || client.clone().oneshot(reqwest::Request::new(Method::GET, url(address)));

    let mut response = call().await.unwrap();
    assert_eq!(response.url(), &url(address));
    let rejected = call().await.unwrap();
    assert_eq!(rejected.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(rejected.rejection().unwrap().reason(), Reason::Overloaded);
    assert_eq!(rejected.url(), &url(address));
    let writer = writers.next().await;
    writer.write("all of it");
    assert_eq!(response.chunk().await.unwrap().unwrap(), "all of it");
    assert_eq!(handle.in_flight(), 1);
    drop(writer);
    assert_eq!(response.chunk().await.unwrap(), None);
    assert_eq!(handle.in_flight(), 0);

    let dropped = call().await.unwrap();
    assert_eq!(handle.in_flight(), 1);
    drop(dropped);
    assert_eq!(handle.in_flight(), 0);
    assert_eq!(handle.admitted(), 2);
    assert_eq!(handle.rejected(), 1);
}

/// A connector that connects when the test gives leave, once for each permit.
#[derive(Clone)]
struct OnLeave<S> {
    inner: S,
    leave: Arc<Semaphore>,
}

impl<S, Req> Service<Req> for OnLeave<S>
where
    S: Service<Req, Error = BoxError, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let (leave, connect) = (Arc::clone(&self.leave), self.inner.call(request));
        Box::pin(async move {
            leave.acquire().await?.forget();
            connect.await
        })
    }
}

/// Without `.http()`: a connector's error is a `BoxError`, and stays one.
#[tokio::test]
async fn a_limit_on_reqwests_connector_counts_the_connections_in_the_making() {
    let (address, _writers) = upstream().await;
    let layer = ThrottleLayer::concurrency(1).named("connect");
    let leave = Arc::new(Semaphore::new(0));
    let waits = layer_fn({
        let leave = Arc::clone(&leave);
        move |inner| OnLeave { inner, leave: Arc::clone(&leave) }
    });
    let client = reqwest::Client::builder()
        .no_proxy()
        .connector_layer(waits)
        .connector_layer(layer.clone())
        .build()
        .unwrap();
    let url = format!("http://{address}/none");
    let mut first = JoinSet::new();
    first.spawn(client.get(&url).send());
    until(|| layer.handle().in_flight() == 1).await;
    let error = client.get(&url).send().await.unwrap_err();
    assert!(error.is_connect());
    let rejection = Rejection::in_chain(&error).unwrap();
    assert_eq!(rejection.reason(), Reason::Overloaded);
    assert_eq!(rejection.origin().name(), "connect");
    leave.add_permits(1);
    let response = first.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    // A connection that has been made is none of its business.
    assert_eq!(layer.handle().in_flight(), 0);
    assert_eq!(client.get(&url).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(layer.handle().admitted(), 1);
    assert_eq!(layer.handle().rejected(), 1);
}

/// hyper-util asks a connector's future to be `Unpin`.
#[tokio::test]
async fn a_limit_on_hypers_connector_makes_connections_wait_for_each_other() {
    let (address, _writers) = upstream().await;
    let (layer, leave) = (ThrottleLayer::concurrency(1).queue(1), Arc::new(Semaphore::new(0)));
    let waits = layer_fn(|inner| OnLeave { inner, leave: Arc::clone(&leave) });
    let connector = ServiceBuilder::new()
        .layer(layer.clone())
        .layer(waits)
        .map_err(BoxError::from)
        .service(HttpConnector::new());
    let client: Client<_, AnyBody> = Client::builder(TokioExecutor::new()).build(connector);
    let mut calls = JoinSet::new();
    for waiting in 0..2 {
        calls.spawn(client.request(get_of(address, "none")));
        until(|| (layer.handle().in_flight(), layer.handle().queued()) == (1, waiting)).await;
    }
    let error = client.request(get_of(address, "none")).await.unwrap_err();
    assert_eq!(Rejection::in_chain(&error).unwrap().reason(), Reason::Overloaded);
    leave.add_permits(2);
    for served in calls.join_all().await {
        assert_eq!(served.unwrap().status(), StatusCode::NO_CONTENT);
    }
    until(|| layer.handle().in_flight() == 0).await;
}
