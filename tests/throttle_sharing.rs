//! A limit on an axum server is one limit, however often axum applies its layer.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use axum::{Router, body::Body, handler::Handler, response::Response, routing::get};
use buttress::{Http, HttpExt, Reason, ThrottleLayer, http_grpc::ResponseHead};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use loopback::{AnyClient, chunks, http1, http2, nothing, serve, streams, until};
use tokio::{sync::watch, task::JoinSet};
use tower::ServiceExt;

fn limit(limit: u32) -> ThrottleLayer<Http> {
    ThrottleLayer::concurrency(limit).http()
}

async fn fetch(client: &AnyClient, address: SocketAddr, path: &str) -> hyper::Response<Incoming> {
    let request = Request::get(format!("http://{address}/{path}")).body(nothing()).unwrap();
    client.request(request).await.unwrap()
}

#[tokio::test]
async fn a_limit_counts_over_all_routes_at_each_place_of_a_router() {
    let layer = limit(1);
    let (streams, mut writers) = streams();
    let handler = async move || streams.respond();
    let app = Router::new()
        .route("/router/a", get(handler.clone()))
        .route("/router/b", get(handler.clone()))
        .layer(layer.clone())
        .merge(Router::new().route("/route", get(handler.clone())).route_layer(layer.clone()))
        .route("/method", get(handler.clone()).layer(layer.clone()))
        .route("/handler", get(handler.layer(layer.clone())));
    let address = serve(app).await.unwrap();
    let paths = ["router/a", "router/b", "route", "method", "handler"];
    for held in paths {
        let open = fetch(&http1(), address, held).await;
        let writer = writers.next().await;
        for path in paths {
            let status = fetch(&http1(), address, path).await.status();
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path} beside {held}");
        }
        drop(writer);
        open.into_body().collect().await.unwrap();
    }
    assert_eq!(layer.handle().admitted(), 5);
    assert_eq!(layer.handle().rejected(), 25);
}

/// axum lays the layer over the handler anew for each of these requests.
#[tokio::test]
async fn one_limit_counts_over_the_services_axum_makes_per_request() {
    let layer = limit(1).named("api");
    let (streams, mut writers) = streams();
    let handler = async move || streams.respond();
    let app: Router = Router::new()
        .route("/method", get(handler.clone()).layer(layer.clone()))
        .route("/handler", get(handler.layer(layer.clone())));
    let ask = async |path| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap()
    };
    for (held, other) in [("/method", "/handler"), ("/handler", "/method")] {
        let open = ask(held).await;
        let writer = writers.next().await;
        for path in [held, other] {
            let rejected = ask(path).await;
            assert_eq!(rejected.status(), StatusCode::SERVICE_UNAVAILABLE);
            let rejection = rejected.rejection().unwrap();
            assert_eq!(rejection.reason(), Reason::Overloaded);
            assert_eq!(rejection.origin().name(), "api");
        }
        drop(writer);
        open.into_body().collect().await.unwrap();
    }
}

/// Calls that run until a gate is opened.
#[derive(Clone)]
struct Crowd {
    gate: watch::Sender<bool>,
    running: Arc<AtomicU32>,
    peak: Arc<AtomicU32>,
}

impl Crowd {
    fn new() -> Self {
        Self { gate: watch::Sender::new(false), running: Arc::default(), peak: Arc::default() }
    }

    async fn join(self) {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(running, Ordering::SeqCst);
        self.gate.subscribe().wait_for(|open| *open).await.unwrap();
        // So that those who are let in later run side by side too.
        tokio::task::yield_now().await;
        self.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_calls_at_once_no_more_run_than_the_limit() {
    let (layer, crowd) = (limit(10), Crowd::new());
    let joining = crowd.clone();
    // Laid over the handler anew for each call.
    let handler = (move || joining.clone().join()).layer(layer.clone());
    let app: Router = Router::new().route("/", get(handler));
    let mut calls = JoinSet::new();
    for _ in 0..1000 {
        let app = app.clone();
        calls.spawn(async { app.oneshot(Request::new(Body::empty())).await.unwrap().status() });
    }
    for _ in 0..990 {
        let rejected = calls.join_next().await.unwrap().unwrap();
        assert_eq!(rejected, StatusCode::SERVICE_UNAVAILABLE);
    }
    crowd.gate.send_replace(true);
    assert_eq!(calls.join_all().await, [StatusCode::OK; 10]);
    assert_eq!(crowd.peak.load(Ordering::SeqCst), 10);
    assert_eq!(layer.handle().admitted(), 10);
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_calls_in_the_queue_of_a_server_are_served_ten_at_a_time() {
    let (layer, crowd) = (limit(10).queue(990), Crowd::new());
    let joining = crowd.clone();
    let app = Router::new().route("/", get(move || joining.clone().join())).layer(layer.clone());
    let address = serve(app).await.unwrap();
    let mut calls = JoinSet::new();
    // A connection carries so many streams at a time.
    for _ in 0..10 {
        let client = http2();
        for _ in 0..100 {
            let client = client.clone();
            calls.spawn(async move { fetch(&client, address, "").await.status() });
        }
    }
    until(|| (layer.handle().in_flight(), layer.handle().queued()) == (10, 990)).await;
    crowd.gate.send_replace(true);
    assert!(calls.join_all().await.into_iter().all(|status| status == StatusCode::OK));
    assert_eq!(crowd.peak.load(Ordering::SeqCst), 10);
    assert_eq!(layer.handle().admitted(), 1000);
    assert_eq!(layer.handle().rejected(), 0);
}

/// Calls that are served, rejected, and given up in the queue, in the handler and in the body, each
/// on whatever thread it happens to be.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_that_come_and_go_on_many_threads_leave_nothing_behind() {
    let layer = limit(3).queue(20);
    let running = Arc::new(AtomicU32::new(0));
    let guarded = Arc::clone(&running);
    let handler = async move || {
        let _one = One::of(&guarded);
        tokio::task::yield_now().await;
        Response::new(chunks(&["one", "two", "three"]))
    };
    let app: Router = Router::new().route("/", get(handler)).layer(layer.clone());
    let mut calls = JoinSet::new();
    for number in 0..3000 {
        let app = app.clone();
        let call = calls.spawn(async move {
            let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
            let mut body = response.into_body();
            for _ in 0..number % 4 {
                tokio::task::yield_now().await;
                drop(body.frame().await);
            }
        });
        if number % 3 == 0 {
            tokio::task::yield_now().await;
            call.abort();
        }
    }
    while let Some(ended) = calls.join_next().await {
        assert!(ended.is_ok() || ended.unwrap_err().is_cancelled());
    }
    let handle = layer.handle();
    assert_eq!(handle.in_flight(), 0);
    assert_eq!(handle.queued(), 0);
    assert_eq!(running.load(Ordering::SeqCst), 0);
    let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

/// One of those that run, which must never be more than three.
struct One(Arc<AtomicU32>);

impl One {
    fn of(running: &Arc<AtomicU32>) -> Self {
        assert!(running.fetch_add(1, Ordering::SeqCst) < 3, "more than the limit");
        Self(Arc::clone(running))
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
