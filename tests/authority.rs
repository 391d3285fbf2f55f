//! A limit per host, in all places where a layer is put, and what its keys allocate.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use axum::{Router, routing::get};
use buttress::{
    Authority, BoxError, DedupLayer, Http, HttpExt, Rejection, ThrottleHandle, ThrottleLayer,
    http_grpc::HttpKey,
    layer_api::{FixedKey, KeyOf},
    throttle::{ConcurrencyLimit, Keyed},
};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header::HOST};
use http_body::Frame;
use http_body_util::Empty;
use loopback::{
    AnyBody, Checkup, Origin, answer, background, channel, http1, http2, incoming, nothing, serve,
};
use tonic::transport::Server;
use tonic_health::pb::{
    HealthCheckRequest, health_client::HealthClient, health_server::HealthServer,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

type PerHost = ThrottleLayer<Http, Keyed<ConcurrencyLimit, Arc<str>, Authority>>;

fn per_host() -> PerHost {
    ThrottleLayer::concurrency(10).per(Authority).http()
}

/// A server on loopback, and the same under the name `localhost`.
async fn upstream() -> [String; 2] {
    let app = Router::new().route("/", get(async || StatusCode::NO_CONTENT));
    let address = serve(app).await.unwrap();
    [format!("http://{address}/"), format!("http://LocalHost:{}/", address.port())]
}

/// A body that never ends, so that its call stays in flight.
struct Held;

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

/// A service whose calls stay in flight while their response is held.
async fn hold(_: Request<AnyBody>) -> Result<Response<Held>, Infallible> {
    Ok(Response::new(Held))
}

fn request(uri: &str) -> Request<AnyBody> {
    Request::get(uri).body(nothing()).unwrap()
}

#[tokio::test]
async fn handle_finds_the_limit_of_a_host() {
    let layer = per_host();
    let service = layer.layer(service_fn(hold));
    let _held = service.oneshot(request("HTTPS://User@DB-1.example/x")).await.unwrap();
    let host = layer.handle().for_key(&Arc::from("db-1.example:443")).unwrap();
    assert_eq!(host.in_flight(), 1);
}

#[tokio::test]
async fn each_host_has_a_limit_of_its_own_and_a_request_without_a_host_has_none() {
    let layer = ThrottleLayer::concurrency(1).per(Authority).http();
    let service = layer.layer(service_fn(hold));
    let mut held = Vec::new();
    let expected = [
        ("http://db-1/", StatusCode::OK),
        ("http://user@DB-1.:80/other", StatusCode::SERVICE_UNAVAILABLE),
        ("http://db-1:81/", StatusCode::OK),
        ("https://db-1/", StatusCode::OK),
        ("/", StatusCode::OK),
        ("/", StatusCode::OK),
    ];
    for (uri, status) in expected {
        let response = service.clone().oneshot(request(uri)).await.unwrap();
        assert_eq!(response.status(), status, "{uri}");
        held.push(response);
    }
    assert_eq!(layer.handle().keys(), 3);
}

#[tokio::test]
async fn router_of_axum_takes_a_limit_per_host() {
    let layer = per_host();
    let handle: ThrottleHandle<Keyed<ConcurrencyLimit, Arc<str>>> = layer.handle();
    let app = Router::new().route("/", get(async || StatusCode::NO_CONTENT)).layer(layer);
    let address = serve(app).await.unwrap();
    for client in [http1(), http2()] {
        let response = client.request(request(&format!("http://{address}/"))).await.unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(handle.admitted(), 2);
}

#[tokio::test]
async fn server_and_client_of_tonic_take_a_limit_per_host() {
    let (server, client) = (per_host(), per_host());
    let handles = [server.handle(), client.handle()];
    let (address, incoming) = incoming().unwrap();
    let health = HealthServer::new(Checkup::default());
    background(Server::builder().layer(server).add_service(health).serve_with_incoming(incoming));
    let stub = ServiceBuilder::new().layer(client).service(channel(address).unwrap());
    let ask = HealthCheckRequest::default();
    HealthClient::new(stub.clone()).check(ask.clone()).await.unwrap();
    // The channel adds the authority further in.
    assert_eq!(handles.each_ref().map(ThrottleHandle::admitted), [1, 0]);
    let origin = format!("http://{address}").parse().unwrap();
    HealthClient::with_origin(stub, origin).check(ask).await.unwrap();
    assert_eq!(handles.map(|handle| handle.admitted()), [2, 1]);
}

#[tokio::test]
async fn client_of_hyper_takes_a_limit_per_host() {
    let urls = upstream().await;
    let layer = per_host();
    let client = ServiceBuilder::new().layer(layer.clone()).service(http1());
    for url in urls {
        let response = client.clone().oneshot(request(&url)).await.unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(layer.handle().admitted(), 2);
}

#[tokio::test]
async fn client_of_reqwest_takes_a_limit_per_host() {
    let urls = upstream().await;
    let layer = per_host();
    let client = ServiceBuilder::new().layer(layer.clone()).service(reqwest::Client::new());
    for url in urls {
        let request = reqwest::Request::new(reqwest::Method::GET, url.parse().unwrap());
        let response = client.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(layer.handle().admitted(), 2);
}

#[tokio::test]
async fn http_as_a_fixed_key_gives_a_limit_per_request_key() {
    let layer = ThrottleLayer::concurrency(10).per(Http::new()).http();
    let service = layer.layer(service_fn(async |_: Request<Empty<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Held))
    }));
    let request = Request::get("http://db-1/users").body(Empty::new()).unwrap();
    let key: HttpKey = Http::new().key(&request).unwrap();
    let _held = service.oneshot(request).await.unwrap();
    assert_eq!(layer.handle().for_key(&key).unwrap().in_flight(), 1);
}

/// The path of a request, in any mode.
#[derive(Clone)]
struct Path;

impl FixedKey for Path {
    type Key = String;
}

impl<B> KeyOf<Request<B>> for Path {
    type Key = String;

    fn key(&self, request: &Request<B>) -> Option<String> {
        Some(request.uri().path().to_owned())
    }
}

impl KeyOf<String> for Path {
    type Key = String;

    fn key(&self, path: &String) -> Option<String> {
        Some(path.clone())
    }
}

#[tokio::test]
async fn dedup_takes_a_fixed_key_in_every_mode() {
    let http = DedupLayer::per(Path).http();
    let service = http.layer(Origin::new(|_, _| Ok(answer(StatusCode::OK, &[], "users"))));
    let request = Request::get("/users").body(String::new()).unwrap();
    assert_eq!(service.oneshot(request).await.unwrap().status(), StatusCode::OK);
    assert_eq!(http.handle().leaders(), 1);
    let plain = DedupLayer::per(Path);
    let service = plain.layer(service_fn(async |path: String| Ok::<_, BoxError>(path)));
    assert_eq!(service.oneshot("a".to_owned()).await.unwrap(), "a");
    assert_eq!(plain.handle().leaders(), 1);
}

/// A service that allocates nothing.
#[derive(Clone)]
struct Quick;

impl<R> Service<R> for Quick {
    type Response = Response<()>;
    type Error = Rejection;
    type Future = Ready<Result<Response<()>, Rejection>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Rejection>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: R) -> Self::Future {
        ready(Ok(Response::new(())))
    }
}

/// The allocations of calls whose keys are known.
fn allocations<R>(requests: impl Fn() -> R) -> u64
where
    Authority: KeyOf<R, Key = Arc<str>>,
{
    let layer = ThrottleLayer::concurrency(10).per(Authority);
    let mut service = layer.layer(Quick);
    let mut cx = Context::from_waker(Waker::noop());
    let mut call = |request: R| {
        let polled = pin!(service.call(request)).poll(&mut cx);
        assert!(polled.is_ready());
    };
    call(requests());
    let requests: Vec<R> = (0..50).map(|_| requests()).collect();
    let counted = measure(|| requests.into_iter().for_each(&mut call));
    assert_eq!(layer.handle().admitted(), 51);
    counted.count_total
}

#[test]
fn key_of_a_known_host_is_not_allocated() {
    let origin_form = || Request::get("/").header(HOST, "API.example.com:8080").body(()).unwrap();
    let absolute = || Request::get("https://u:p@API.example.com/").body(()).unwrap();
    assert_eq!(allocations(origin_form), 0);
    assert_eq!(allocations(absolute), 0);
    let url: reqwest::Url = "https://API.example.com/".parse().unwrap();
    assert_eq!(allocations(|| reqwest::Request::new(reqwest::Method::GET, url.clone())), 0);
}
