//! Hedges in axum: a proxy's client, and a router, a route and a handler under the layer.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "what helps a test may panic and spawn as the test may"
)]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    handler::Handler,
    response::{IntoResponse, Response},
    routing::get,
};
use buttress::{
    Attempt, Budget, Http, HttpExt,
    hedge::{Hedge, HedgeLayer},
};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use loopback::{chunks, http1, nothing, serve, until_at_this_time};
use tokio::{task::JoinHandle, time::advance};
use tower::{Layer, ServiceExt};

const MS: Duration = Duration::from_millis(1);

fn hedge() -> HedgeLayer<Http> {
    HedgeLayer::after(50 * MS).budget(Budget::unlimited()).http()
}

/// The calls of a handler whose first call hangs.
#[derive(Clone, Default)]
struct Calls(Arc<AtomicUsize>);

impl Calls {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    async fn answer(&self) {
        if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
            std::future::pending::<()>().await;
        }
    }
}

/// A handler that answers with the body of the request.
async fn echo(State(calls): State<Calls>, body: Body) -> Response {
    let body = body.collect().await.unwrap().to_bytes();
    calls.answer().await;
    body.into_response()
}

type Upstream = Client<HttpConnector, Body>;

/// Passes requests on to `upstream` through a client with the layer.
fn proxy(upstream: SocketAddr, layer: &HedgeLayer<Http>) -> Router {
    let client: Upstream = Client::builder(TokioExecutor::new()).build_http();
    let client = layer.layer(client);
    let pass_on = async move |State(client): State<Hedge<Upstream, Http>>, mut request: Request| {
        *request.uri_mut() = format!("http://{upstream}/").parse().unwrap();
        match client.oneshot(request).await {
            Ok(response) => response.into_response(),
            Err(_) => StatusCode::BAD_GATEWAY.into_response(),
        }
    };
    Router::new().fallback(pass_on).with_state(client)
}

async fn ended<T>(call: JoinHandle<T>) -> T {
    until_at_this_time(|| call.is_finished()).await;
    call.await.unwrap()
}

/// Sends a PUT, and lets 50 ms pass once the handler runs.
async fn put(address: SocketAddr, path: &str, calls: &Calls) -> String {
    let request = http::Request::put(format!("http://{address}{path}"));
    let request = request.body(chunks(&["all ", "of it"])).unwrap();
    let call = tokio::spawn(async move {
        let response = http1().request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body().collect().await.unwrap().to_bytes()
    });
    until_at_this_time(|| calls.get() == 1).await;
    advance(51 * MS).await;
    String::from_utf8(ended(call).await.to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn proxy_hedges_its_upstream_with_the_body_of_the_caller() {
    let calls = Calls::default();
    let upstream = Router::new().fallback(echo).with_state(calls.clone());
    let layer = hedge();
    let address = serve(proxy(serve(upstream).await.unwrap(), &layer)).await.unwrap();
    assert_eq!(put(address, "/", &calls).await, "all of it");
    assert_eq!((calls.get(), layer.handle().won()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn router_route_and_handler_take_the_layer() {
    let build: [fn(HedgeLayer<Http>, Calls) -> Router; 3] = [
        |layer, calls| {
            Router::new().route("/", axum::routing::put(echo)).layer(layer).with_state(calls)
        },
        |layer, calls| {
            Router::new().route("/", axum::routing::put(echo)).route_layer(layer).with_state(calls)
        },
        |layer, calls| {
            Router::new().route("/", axum::routing::put(echo.layer(layer))).with_state(calls)
        },
    ];
    for build in build {
        let (layer, calls) = (hedge(), Calls::default());
        let address = serve(build(layer.clone(), calls.clone())).await.unwrap();
        assert_eq!(put(address, "/", &calls).await, "all of it");
        assert_eq!((calls.get(), layer.handle().won()), (2, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn routes_of_a_router_share_the_budget_of_the_layer() {
    let layer = HedgeLayer::after(50 * MS);
    let answer = || async { Attempt::current().number().to_string() };
    let app = Router::new()
        .route("/a", get(answer))
        .route("/b", get(answer.layer(layer.clone().http())))
        .route_layer(layer.clone().http());
    for path in ["/a", "/b"] {
        let request = http::Request::get(path).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "1");
    }
    assert_eq!(layer.handle().calls(), 3, "a nested layer counts a call twice");
}

/// A running handler.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn hedge_of_a_handler_does_not_outlive_the_client() {
    let running = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&running);
    let hangs = async move || {
        let _running = Running::new(&count);
        std::future::pending::<()>().await;
    };
    let app = Router::new().route("/", get(hangs)).layer(hedge().at_most(2));
    let address = serve(app).await.unwrap();
    let request = http::Request::get(format!("http://{address}/")).body(nothing()).unwrap();
    let call = tokio::spawn(http1().request(request));
    for tries in 1..=3 {
        until_at_this_time(|| running.load(Ordering::Relaxed) == tries).await;
        advance(51 * MS).await;
    }
    call.abort();
    until_at_this_time(|| running.load(Ordering::Relaxed) == 0).await;
}
