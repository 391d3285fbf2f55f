//! The ready-made stacks in every mode: axum, tonic, hyper, reqwest, a connector, and a service with an
//! error type of its own.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{fmt, net::SocketAddr, time::Duration};

use axum::{Router, handler::Handler, routing::get};
use buttress::{
    Authority, Backoff, BoxError, BreakerLayer, Cache, Client, DedupLayer, FallbackLayer,
    HedgeLayer, Http, HttpExt, Idempotent, OrderLayer, Reason, Rejection, Server, ServerConfig,
    ServerHandle, Verdict, client, client_for_aws, client_for_grpc, client_for_http,
    http_grpc::ResponseHead,
    layer_api::{Measure, MetricValue},
    server,
};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use loopback::{
    Checkup, background, channel, get_of, http1, http2, incoming, listen, nothing, read, serve,
};
use tonic_health::pb::{
    HealthCheckRequest, health_client::HealthClient, health_server::HealthServer,
};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);
const SOON: Backoff = Backoff::constant(Duration::from_millis(10));

async fn greeting() -> SocketAddr {
    serve(Router::new().route("/", get(async || "hello"))).await.unwrap()
}

/// An address that refuses connections.
async fn refusing() -> SocketAddr {
    listen().await.unwrap().0
}

#[tokio::test]
async fn server_stack_fits_every_place_of_an_axum_router() {
    let stack = server().named("shop").edit_throttle(|limit| limit.queue(10));
    let handle = stack.handle();
    let stack = stack.http();
    let hello = async || "hello";
    let app = Router::new()
        .route("/router", get(hello))
        .route("/hold", get(std::future::pending::<&str>))
        .layer(stack.clone())
        .merge(Router::new().route("/route", get(hello)).route_layer(stack.clone()))
        .route("/method", get(hello).layer(stack.clone()))
        .route("/handler", get(hello.layer(stack)));
    let address = serve(app).await.unwrap();
    for path in ["router", "route", "method", "handler"] {
        let response = http1().oneshot(get_of(address, path)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(read(response).await, "hello", "{path}");
    }
    // All places share the limit, and `/hold` takes its only permit.
    let mut config = ServerConfig::default();
    config.concurrency.limit = Some(1);
    config.concurrency.queue = Some(0);
    handle.apply(&config).unwrap();
    background(http1().oneshot(get_of(address, "hold")));
    while in_flight(&handle) < 1.0 {
        tokio::task::yield_now().await;
    }
    for path in ["router", "route", "method", "handler"] {
        let response = http1().oneshot(get_of(address, path)).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
}

/// The number of calls that hold a permit.
fn in_flight(handle: &ServerHandle) -> f64 {
    let mut calls = 0.0;
    handle.measure(&mut |reading| {
        if let ("buttress.throttle.in_flight", MetricValue::Gauge(number)) =
            (reading.metric().name(), reading.value())
        {
            calls += number;
        }
    });
    calls
}

#[tokio::test]
async fn server_stack_with_an_order_fits_axum() {
    let user = |request: &axum::extract::Request| request.uri().query().map(str::to_owned);
    let stack: Server<_, _, _> = server().order(OrderLayer::serial(user)).http();
    let app = Router::new().route("/", get(async || "hello")).layer(stack);
    let response = http1().oneshot(get_of(serve(app).await.unwrap(), "?user")).await.unwrap();
    assert_eq!(read(response).await, "hello");
}

#[tokio::test]
async fn client_stack_with_nine_places_fits_hyper_with_both_protocols() {
    let address = greeting().await;
    for hyper in [http1(), http2()] {
        let stack = client_for_http()
            .edit_retry(|retry| retry.backoff(SOON))
            .fallback(FallbackLayer::value(Response::new(Full::from("sorry"))))
            .dedup(DedupLayer::new().cache(Cache::from_headers()))
            .order(OrderLayer::serial_per(Authority))
            .hedge(HedgeLayer::learned())
            .breaker(BreakerLayer::new().per(Authority).window(20 * SECOND))
            .edit_throttle(|limit| limit.per(Authority))
            .http();
        assert_eq!(stack.misfits(), []);
        let client = stack.service(hyper);
        let response = client.clone().oneshot(get_of(address, "")).await.unwrap();
        assert_eq!(read(response).await, "hello");
        let response = client.oneshot(get_of(refusing().await, "")).await.unwrap();
        assert_eq!(read(response).await, "sorry");
    }
}

#[tokio::test]
async fn client_stack_fits_reqwest_as_a_service() {
    let address = greeting().await;
    let builder = reqwest::Client::builder().retry(reqwest::retry::never()).no_proxy();
    let stack = client_for_aws()
        .fallback(FallbackLayer::value(Response::new("sorry")))
        .hedge(HedgeLayer::learned())
        .dedup(DedupLayer::new())
        .http();
    let client = stack.service(builder.build().unwrap());
    let request =
        |address| reqwest::Request::new(Method::GET, format!("http://{address}/").parse().unwrap());
    let response = client.clone().oneshot(request(address)).await.unwrap();
    assert_eq!(response.text().await.unwrap(), "hello");
    let response = client.oneshot(request(refusing().await)).await.unwrap();
    assert_eq!(response.text().await.unwrap(), "sorry");
}

/// Without `.http()`: a connection is neither retried nor hedged, because its request is not `Clone`.
#[tokio::test]
async fn client_stack_without_a_retry_fits_the_connector_of_reqwest() {
    let stack = client().named("connect").without_retry();
    let handle = stack.handle();
    let reqwest = reqwest::Client::builder().no_proxy().connector_layer(stack).build().unwrap();
    let url = format!("http://{}/", greeting().await);
    assert_eq!(reqwest.get(&url).send().await.unwrap().text().await.unwrap(), "hello");
    let url = format!("http://{}/", refusing().await);
    for _ in 0..5 {
        reqwest.get(&url).send().await.unwrap_err();
    }
    let error = reqwest.get(&url).send().await.unwrap_err();
    let rejection = Rejection::in_chain(&error).unwrap();
    assert_eq!(rejection.reason(), Reason::CircuitOpen);
    assert_eq!(rejection.origin().name(), "connect.breaker");
    assert_eq!(handle.config().retry.attempts, None);
}

#[tokio::test]
async fn stacks_fit_a_server_and_stubs_of_tonic() {
    let (address, incoming) = incoming().unwrap();
    let tonic = tonic::transport::Server::builder()
        .layer(server().named("health").http())
        .add_service(HealthServer::new(Checkup::default()))
        .serve_with_incoming(incoming);
    background(tonic);
    let stack = client_for_grpc()
        .hedge(HedgeLayer::learned())
        .breaker(BreakerLayer::new().window(20 * SECOND))
        .http_with(Http::new().assume_idempotent());
    let stub = HealthClient::new(stack.service(channel(address).unwrap()));
    for _ in 0..3 {
        let request = HealthCheckRequest { service: String::new() };
        stub.clone().check(request).await.unwrap();
    }
}

#[tokio::test]
async fn client_for_http_repeats_a_request_until_the_service_answers() {
    let failures = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(2));
    let reply = async move || {
        let left = &failures;
        let is_failing = left
            .fetch_update(
                std::sync::atomic::Ordering::Relaxed,
                std::sync::atomic::Ordering::Relaxed,
                |left| left.checked_sub(1),
            )
            .is_ok();
        if is_failing { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
    };
    let address = serve(Router::new().route("/", get(reply))).await.unwrap();
    let stack = client_for_http().edit_retry(|retry| retry.backoff(SOON)).http();
    let request = Request::get(format!("http://{address}/")).extension(Idempotent).body(nothing());
    let response = stack.service(http1()).oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

/// An error type of the user's own.
#[derive(Clone, Debug, PartialEq)]
enum ShopError {
    SoldOut,
    Rejected(Reason),
}

impl From<Rejection> for ShopError {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection.reason())
    }
}

impl fmt::Display for ShopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

fn judge(outcome: Result<&u32, &ShopError>) -> Verdict {
    match outcome {
        Ok(_) => Verdict::Success,
        Err(ShopError::SoldOut) => Verdict::Permanent,
        Err(ShopError::Rejected(reason)) => Verdict::rejected("shop", *reason, None),
    }
}

#[tokio::test(start_paused = true)]
async fn client_stack_fits_a_service_with_an_error_of_its_own() {
    let stack = client()
        .fallback(FallbackLayer::value(0).classify(judge))
        .dedup(DedupLayer::new().share_errors())
        .order(OrderLayer::serial(|shelf: &u32| Some(*shelf)))
        .edit_retry(|retry| retry.classify(judge))
        .hedge(HedgeLayer::learned().classify(judge))
        .edit_breaker(|breaker| breaker.classify(judge));
    let shop = stack.service(service_fn(|shelf: u32| async move {
        match shelf {
            0 => std::future::pending().await,
            13 => Err(ShopError::SoldOut),
            shelf => Ok(shelf * 100),
        }
    }));
    assert_eq!(shop.clone().oneshot(7).await, Ok(700));
    assert_eq!(shop.clone().oneshot(13).await, Err(ShopError::SoldOut));
    // Answered by the fallback after the deadline.
    assert_eq!(shop.oneshot(0).await, Ok(0));
}

/// The type of a stack can be written, for a struct that holds one.
#[tokio::test(start_paused = true)]
async fn type_of_the_standard_client_over_http_can_be_written() {
    type Bound = <Client as buttress::layer_api::Bind<Http>>::Bound;
    struct Shop {
        client: Bound,
    }
    let shop = Shop { client: client().http() };
    let echo = service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::from("hello")))
    });
    let service = ServiceBuilder::new().layer(shop.client.clone()).service(echo);
    let response = service.oneshot(Request::new(Full::default())).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(ResponseHead::rejection(&response).is_none());
    let _ = Layer::layer(&shop.client, echo);
}
