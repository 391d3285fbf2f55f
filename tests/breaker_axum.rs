//! A circuit breaker on an axum server is one circuit, however often axum applies its layer.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    future::pending,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use axum::{Router, body::Body, handler::Handler, routing::get};
use buttress::{
    Http, HttpExt, Reason,
    breaker::{Backoff, BreakerLayer, CircuitState},
    http_grpc::{Authority, ResponseHead},
};
use http::{Request, StatusCode, header::RETRY_AFTER};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use loopback::{AnyClient, http1, http2, nothing, serve, streams};
use tower::ServiceExt;

/// Open for longer than a test takes.
fn breaker() -> BreakerLayer<Http> {
    BreakerLayer::new().open_for(Backoff::constant(Duration::from_secs(100))).http()
}

async fn fetch(client: &AnyClient, address: SocketAddr, path: &str) -> hyper::Response<Incoming> {
    let request = Request::get(format!("http://{address}/{path}")).body(nothing()).unwrap();
    client.request(request).await.unwrap()
}

#[tokio::test]
async fn circuit_is_shared_by_all_routes_at_each_place_of_a_router() {
    let paths = ["router/a", "router/b", "route", "method", "handler"];
    for failing in paths {
        let layer = breaker();
        let broken = Arc::new(AtomicBool::new(true));
        let reply = Arc::clone(&broken);
        let handler = async move || {
            let is_broken = reply.load(Ordering::Relaxed);
            if is_broken { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
        };
        let app = Router::new()
            .route("/router/a", get(handler.clone()))
            .route("/router/b", get(handler.clone()))
            .layer(layer.clone())
            .merge(Router::new().route("/route", get(handler.clone())).route_layer(layer.clone()))
            .route("/method", get(handler.clone()).layer(layer.clone()))
            .route("/handler", get(handler.layer(layer.clone())));
        let address = serve(app).await.unwrap();
        for _ in 0..5 {
            let status = fetch(&http1(), address, failing).await.status();
            assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        }
        assert_eq!(layer.handle().state(), CircuitState::Open, "{failing}");
        broken.store(false, Ordering::Relaxed);
        for client in [http1(), http2()] {
            for path in paths {
                let rejected = fetch(&client, address, path).await;
                assert_eq!(rejected.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
                assert_eq!(rejected.headers()[RETRY_AFTER], "100");
            }
        }
        assert_eq!(layer.handle().rejected(), 10);
        layer.handle().close();
        assert_eq!(fetch(&http1(), address, failing).await.status(), StatusCode::OK);
    }
}

/// axum lays the layer over the handler anew for each of these requests.
#[tokio::test]
async fn circuit_is_shared_by_the_services_axum_makes_per_request() {
    let layer = breaker().named("api");
    let failing = async || StatusCode::BAD_GATEWAY;
    let app: Router = Router::new()
        .route("/method", get(failing).layer(layer.clone()))
        .route("/handler", get(failing.layer(layer.clone())));
    let ask = async |path| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap()
    };
    for path in ["/method", "/handler", "/method", "/handler", "/method"] {
        assert_eq!(ask(path).await.status(), StatusCode::BAD_GATEWAY);
    }
    for path in ["/method", "/handler"] {
        let rejected = ask(path).await;
        assert_eq!(rejected.status(), StatusCode::SERVICE_UNAVAILABLE);
        let rejection = rejected.rejection().unwrap();
        assert_eq!(rejection.reason(), Reason::CircuitOpen);
        assert_eq!(rejection.origin().name(), "api");
    }
}

/// As the docs of the crate say.
#[tokio::test]
async fn layer_that_is_nested_in_itself_counts_a_call_twice() {
    let layer = breaker();
    let handler = (async || StatusCode::INTERNAL_SERVER_ERROR).layer(layer.clone());
    let app: Router = Router::new().route("/", get(handler)).route_layer(layer.clone());
    app.oneshot(Request::new(Body::empty())).await.unwrap();
    assert_eq!(layer.handle().counts().calls, 2);
}

#[tokio::test]
async fn answers_that_are_the_callers_fault_are_successes() {
    let layer = breaker();
    let app: Router = Router::new().route("/", get(async || StatusCode::OK)).layer(layer.clone());
    for _ in 0..100 {
        let request = Request::get("/unknown").body(Body::empty()).unwrap();
        assert_eq!(app.clone().oneshot(request).await.unwrap().status(), StatusCode::NOT_FOUND);
    }
    let counts = layer.handle().counts();
    assert_eq!((counts.calls, counts.failures), (100, 0));
}

/// A response counts at its head, and a client that leaves before the head counts as nothing.
#[tokio::test]
async fn response_counts_at_its_head_whatever_its_body_does() {
    let layer = breaker();
    let (streams, mut writers) = streams();
    let app = Router::new().route("/", get(async move || streams.respond())).layer(layer.clone());
    let address = serve(app).await.unwrap();
    let response = fetch(&http1(), address, "").await;
    assert_eq!(layer.handle().counts().calls, 1);
    writers.next().await.fail();
    response.into_body().collect().await.unwrap_err();
    let counts = layer.handle().counts();
    assert_eq!((counts.calls, counts.failures), (1, 0));
}

#[tokio::test]
async fn clients_that_leave_before_the_head_do_not_open_the_circuit() {
    let layer = breaker();
    let calls = Arc::new(AtomicUsize::new(0));
    let reached = Arc::clone(&calls);
    let hanging = async move || {
        reached.fetch_add(1, Ordering::Relaxed);
        pending::<StatusCode>().await
    };
    let app: Router = Router::new().route("/", get(hanging)).layer(layer.clone());
    for _ in 0..50 {
        let mut call = Box::pin(app.clone().oneshot(Request::new(Body::empty())));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert_eq!(calls.load(Ordering::Relaxed), 50);
    assert_eq!(layer.handle().counts().calls, 0);
    assert_eq!(layer.handle().state(), CircuitState::Closed);
}

/// The handlers of a proxy, with a circuit for each upstream host.
#[tokio::test]
async fn each_upstream_host_of_a_proxy_has_a_circuit_of_its_own() {
    let layer = breaker().per(Authority);
    let handle = layer.handle();
    let app: Router = Router::new()
        .route(
            "/",
            get(async |request: Request<Body>| match request.uri().host() {
                Some("down.example.com") => StatusCode::BAD_GATEWAY,
                _ => StatusCode::OK,
            }),
        )
        .layer(layer);
    let ask = async |url: &str| {
        let request = Request::get(url).body(Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap().status()
    };
    for _ in 0..5 {
        assert_eq!(ask("http://down.example.com/").await, StatusCode::BAD_GATEWAY);
        assert_eq!(ask("http://up.example.com/").await, StatusCode::OK);
    }
    assert_eq!(ask("http://DOWN.example.com:80/").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ask("https://down.example.com/").await, StatusCode::BAD_GATEWAY);
    assert_eq!(ask("http://up.example.com/").await, StatusCode::OK);
    assert_eq!((handle.keys(), handle.rejected()), (3, 1));
}
