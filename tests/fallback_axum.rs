//! A fallback on an axum server: pages in place of failures, and another router in place of one.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{convert::Infallible, future::pending, net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Body,
    handler::Handler,
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use buttress::{
    Deadline, DeadlineLayer, Degraded, FallbackLayer, FallbackSnapshot, Http, HttpExt, Verdict,
    fallback::Source,
};
use buttress_testkit::counts;
use bytes::Bytes;
use http::{HeaderName, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use loopback::{Origin, get_of, http1, http2, listen, read, serve, streams};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

/// Long enough to be there on a busy machine, short enough to wait for.
const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(20);
const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");
const TIME_LEFT: HeaderName = HeaderName::from_static("x-request-timeout-ms");

/// A page with the verdict on it. The type of the body is that of the layers inside.
fn page<B>(verdict: Verdict, outcome: Result<&Response<B>, &Infallible>) -> Response {
    let status = outcome.map_or(0, |response| response.status().as_u16());
    format!("sorry: {verdict:?} {status}").into_response()
}

/// A response that is `Clone`, as the bodies of axum are not.
fn fixed() -> Response<Full<Bytes>> {
    Response::new(Full::from("sorry"))
}

async fn broken() -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}

async fn fetch(address: SocketAddr, path: &str) -> (StatusCode, Bytes) {
    let response = http1().request(get_of(address, path)).await.unwrap();
    (response.status(), read(response).await)
}

#[tokio::test]
async fn page_is_answered_at_each_place_of_a_router() {
    let layer = FallbackLayer::answer(page).http();
    let app = Router::new()
        .route("/router", get(broken))
        .layer(layer.clone())
        .merge(Router::new().route("/route", get(broken)).route_layer(layer.clone()))
        .route("/method", get(broken).layer(layer.clone()))
        .route("/handler", get(broken.layer(layer.clone())));
    let address = serve(app).await.unwrap();
    for path in ["router", "route", "method", "handler"] {
        let answered = fetch(address, path).await;
        assert_eq!(answered, (StatusCode::OK, Bytes::from("sorry: Transient 500")), "{path}");
    }
    let expected = counts!(FallbackSnapshot { calls: 4, answered: 4 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test]
async fn response_that_is_no_failure_passes_with_its_body() {
    let (streams, mut writers) = streams();
    let layer = FallbackLayer::answer(page).http();
    let app = Router::new()
        .route("/missing", any(async || (StatusCode::NOT_FOUND, "no such page")))
        .route("/stream", any(async move || streams.respond()))
        .layer(layer.clone());
    let address = serve(app).await.unwrap();
    for client in [http1(), http2()] {
        let missing = client.request(get_of(address, "missing")).await.unwrap();
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
        assert_eq!(read(missing).await, "no such page");
        let streamed = client.request(get_of(address, "stream")).await.unwrap();
        let writer = writers.next().await;
        writer.write("bit ");
        writer.write("by bit");
        drop(writer);
        assert_eq!(read(streamed).await, "bit by bit");
    }
    assert_eq!(layer.handle().snapshot(), counts!(FallbackSnapshot { calls: 4 }));
}

/// The layer stands outside the deadline of the handler.
#[tokio::test]
async fn handler_that_takes_too_long_is_answered_with_the_page() {
    let app = Router::new().route("/", get(pending::<StatusCode>)).layer(
        ServiceBuilder::new()
            .layer(FallbackLayer::answer(page).http())
            .layer(DeadlineLayer::new(SHORT).http()),
    );
    let answered = fetch(serve(app).await.unwrap(), "").await;
    assert_eq!(answered, (StatusCode::OK, Bytes::from("sorry: TimedOut 504")));
}

/// The body of the failed response is not read, and is dropped once the page is made.
#[tokio::test]
async fn body_of_the_replaced_response_is_dropped() {
    let (streams, mut writers) = streams();
    let broken = async move || (StatusCode::BAD_GATEWAY, streams.respond());
    let app = Router::new().route("/", any(broken)).layer(FallbackLayer::answer(page).http());
    let answered = fetch(serve(app).await.unwrap(), "").await;
    assert_eq!(answered.1, "sorry: Transient 502");
    writers.next().await.abandoned().await;
}

/// FB-03.
#[tokio::test]
async fn answer_is_marked_in_its_extensions_and_in_the_header_of_choice() {
    let http = Http::new().fallback_header(SERVED_BY);
    let layer = FallbackLayer::value(fixed()).named("page");
    let app = Router::new()
        .route("/broken", get(broken))
        .route("/fine", get(async || "fine"))
        .layer(layer.http_with(http));
    let call = |path| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        app.clone().oneshot(request)
    };
    let answer = call("/broken").await.unwrap();
    let degraded = answer.extensions().get::<Degraded>().unwrap();
    assert_eq!((degraded.source, degraded.instead_of), (Source::Value, Verdict::Transient));
    assert_eq!((degraded.origin.to_string().as_str(), degraded.age), ("fallback `page`", None));
    assert_eq!(answer.headers()[SERVED_BY], "fallback");
    let fine = call("/fine").await.unwrap();
    assert!(fine.extensions().get::<Degraded>().is_none());
    assert!(!fine.headers().contains_key(SERVED_BY));
}

/// A router whose handler reads the whole body and then fails.
fn reading() -> Router {
    Router::new().route("/", post(async |_: Bytes| StatusCode::SERVICE_UNAVAILABLE))
}

async fn send(address: SocketAddr, body: Bytes) -> (StatusCode, Bytes) {
    let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
    let request = Request::post(format!("http://{address}/")).body(body).unwrap();
    let response = http1().request(request).await.unwrap();
    (response.status(), read(response).await)
}

/// A POST, too: the other router is another service.
#[tokio::test]
async fn other_router_gets_the_whole_request_again() {
    let echo = Router::new().route("/", post(async |body: Bytes| body));
    let layer = FallbackLayer::service(echo).http();
    let address = serve(reading().layer(layer.clone())).await.unwrap();
    let body = Bytes::from(vec![7; 50_000]);
    assert_eq!(send(address, body.clone()).await, (StatusCode::OK, body));
    assert_eq!(layer.handle().answered(), 1);
}

#[tokio::test]
async fn first_response_is_returned_if_the_body_is_too_long_to_be_sent_again() {
    let echo = Router::new().route("/", post(async |body: Bytes| body));
    let layer = FallbackLayer::service(echo).http();
    let address = serve(reading().layer(layer.clone())).await.unwrap();
    let answered = send(address, Bytes::from(vec![7; 70_000])).await;
    assert_eq!(answered, (StatusCode::SERVICE_UNAVAILABLE, Bytes::new()));
    let expected = counts!(FallbackSnapshot { calls: 1, failed: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
}

/// The first response is returned with its body whole, however long it was held.
#[tokio::test]
async fn first_response_keeps_its_body_while_the_other_router_fails() {
    let (streams, mut writers) = streams();
    let first = async move || (StatusCode::SERVICE_UNAVAILABLE, streams.respond());
    let other = Router::new().route("/", any(broken));
    let layer = FallbackLayer::service(other).http();
    let app = Router::new().route("/", any(first)).layer(layer.clone());
    let response = http1().request(get_of(serve(app).await.unwrap(), "")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let writer = writers.next().await;
    writer.write("the first word");
    drop(writer);
    assert_eq!(read(response).await, "the first word");
    assert_eq!(layer.handle().failed(), 1);
}

/// A not found of the other router is its answer, and a failure is none.
#[tokio::test]
async fn not_found_of_the_other_router_is_an_answer() {
    let layer = FallbackLayer::service(Router::new()).http();
    let app = Router::new().route("/", get(broken)).layer(layer.clone());
    let answered = fetch(serve(app).await.unwrap(), "").await;
    assert_eq!(answered.0, StatusCode::NOT_FOUND);
    assert_eq!(layer.handle().answered(), 1);
}

fn time_left(request: &Request<String>) -> Option<u128> {
    request.headers().get(TIME_LEFT).map(|left| left.to_str().unwrap().parse().unwrap())
}

/// The request states a deadline. The alternative is told the time that is left of it.
#[tokio::test(start_paused = true)]
async fn alternative_is_told_the_time_left_of_the_deadline_that_the_request_carried() {
    let first = tower::service_fn(async |_: Request<String>| {
        tokio::time::sleep(Duration::from_millis(400)).await;
        Ok(loopback::answer(StatusCode::BAD_GATEWAY, &[], "first"))
    });
    let second = Origin::new(|request, _| {
        let ambient = Deadline::current().unwrap().remaining().as_millis();
        assert_eq!(time_left(request), Some(ambient));
        Ok(loopback::answer(StatusCode::OK, &[], ambient.to_string()))
    });
    let http = Http::new().timeout_header(TIME_LEFT);
    let service = FallbackLayer::service(second).http_with(http).layer(first);
    let request = Request::get("/").header(TIME_LEFT, "1000").body(String::new()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(read(response).await, "600");
}

#[tokio::test(start_paused = true)]
async fn alternative_is_not_called_if_the_request_has_no_time_left() {
    let first = tower::service_fn(async |_: Request<String>| {
        tokio::time::sleep(SHORT).await;
        Ok(loopback::answer(StatusCode::BAD_GATEWAY, &[], "first"))
    });
    let second = Origin::new(|_, _| Ok(loopback::answer(StatusCode::OK, &[], "second")));
    let layer = FallbackLayer::service(second.clone());
    let layer = layer.http_with(Http::new().timeout_header(TIME_LEFT));
    let request = Request::get("/").header(TIME_LEFT, "50").body(String::new()).unwrap();
    let response = layer.layer(first).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(read(response).await, "first");
    assert_eq!((second.calls(), layer.handle().failed()), (0, 1));
}

/// A proxy: the first upstream refuses connections, the page stands in.
#[tokio::test]
async fn router_over_a_client_answers_a_refused_connection() {
    let (address, listener) = listen().await.unwrap();
    drop(listener);
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let client = FallbackLayer::value(fixed()).http().layer(client);
    let proxied = async move || {
        let request = Request::get(format!("http://{address}/")).body(Body::empty()).unwrap();
        client.clone().oneshot(request).await.unwrap().map(Body::new)
    };
    let app = Router::new().route("/", get(proxied)).layer(DeadlineLayer::new(LONG).http());
    let answered = fetch(serve(app).await.unwrap(), "").await;
    assert_eq!(answered, (StatusCode::OK, Bytes::from("sorry")));
}

/// What axum demands of a layer and its service.
fn is_layer_of_axum<L>(_: &L)
where
    L: Layer<axum::routing::Route> + Clone + Send + Sync + 'static,
    L::Service: Service<axum::extract::Request> + Clone + Send + Sync + 'static,
{
}

#[test]
fn every_fallback_is_a_layer_of_axum() {
    is_layer_of_axum(&FallbackLayer::answer(page::<Body>).http().await_ready().observe());
    // The types of the layers inside need not be named in a closure either.
    let answer = |_, _: Result<&Response<_>, &_>| StatusCode::ACCEPTED.into_response();
    is_layer_of_axum(&FallbackLayer::answer(answer).http());
    is_layer_of_axum(&FallbackLayer::value(fixed()).http());
    is_layer_of_axum(&FallbackLayer::service(Router::new()).at_most(3).http().when(|_| true));
}
