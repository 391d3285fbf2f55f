//! Each kind of limit fits each place that a layer is put.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::net::SocketAddr;

use axum::{Router, handler::Handler, routing::get};
use buttress::{HttpExt, Rate, Rates, ThrottleLayer, throttle::Vegas};
use http::{HeaderValue, Method, Request, StatusCode, header::HOST};
use loopback::{AnyBody, Checkup, background, channel, http1, incoming, nothing, serve};
use tonic::{service::LayerExt, transport::Server};
use tonic_health::pb::{
    HealthCheckRequest, health_client::HealthClient, health_server::HealthServer,
};
use tower::{ServiceBuilder, ServiceExt};

/// Runs `$body` with `$layer` as each kind of limit in turn.
macro_rules! with_each_kind {
    ($layer:ident, $body:expr) => {{
        let $layer = ThrottleLayer::concurrency(9).queue(9);
        $body;
        let $layer = ThrottleLayer::rate(Rate::per_second(9)).queue(9);
        $body;
        let $layer = ThrottleLayer::rates(Rates::new(Rate::per_second(9)).and(Rate::per_hour(9)));
        $body;
        let $layer = ThrottleLayer::adaptive(Vegas::default()).queue(9);
        $body;
        let $layer = ThrottleLayer::accept_ratio();
        $body;
    }};
}

/// The status of an answer to `GET /`.
async fn status(address: SocketAddr) -> StatusCode {
    http1().request(get_of(address)).await.unwrap().status()
}

fn get_of(address: SocketAddr) -> Request<AnyBody> {
    Request::get(format!("http://{address}/")).body(nothing()).unwrap()
}

async fn handle() -> &'static str {
    "served"
}

#[tokio::test]
async fn each_kind_fits_each_place_of_an_axum_server() {
    with_each_kind!(layer, {
        let layer = layer.http();
        let route = || Router::new().route("/", get(handle));
        let apps = [
            route().layer(layer.clone()),
            route().route_layer(layer.clone()),
            Router::new().route("/", get(handle).layer(layer.clone())),
            Router::new().route("/", get(handle.layer(layer.clone()))),
        ];
        for app in apps {
            assert_eq!(status(serve(app).await.unwrap()).await, StatusCode::OK);
        }
        assert_eq!(layer.handle().admitted(), 4);
    });
}

#[tokio::test]
async fn a_limit_by_key_and_by_weight_fits_an_axum_server() {
    let host = |request: &axum::extract::Request| request.headers().get(HOST).cloned();
    let weight = |_: &axum::extract::Request| 2;
    let adaptive = ThrottleLayer::adaptive(Vegas::default()).keyed(host).http();
    let rate = ThrottleLayer::rate(Rate::per_hour(9)).cost(weight).keyed(host).http();
    let app = Router::new().route("/", get(handle)).layer(adaptive.clone()).layer(rate.clone());
    let address = serve(app).await.unwrap();
    assert_eq!(status(address).await, StatusCode::OK);
    let host = HeaderValue::try_from(address.to_string()).unwrap();
    assert_eq!(adaptive.handle().admitted(), 1);
    assert_eq!(rate.handle().for_key(&host).unwrap().tokens(), 7);
}

#[tokio::test]
async fn each_kind_fits_a_server_a_service_and_a_client_of_tonic() {
    let health = || HealthServer::new(Checkup::default());
    let ask = HealthCheckRequest::default;
    with_each_kind!(layer, {
        let layer = layer.http();
        let (whole, at) = incoming().unwrap();
        let server = { Server::builder().layer(layer.clone()) }.add_service(health());
        background(server.serve_with_incoming(at));
        HealthClient::new(channel(whole).unwrap()).check(ask()).await.unwrap();

        let (named, at) = incoming().unwrap();
        let server = Server::builder().add_service(layer.clone().named_layer(health()));
        background(server.serve_with_incoming(at));
        HealthClient::new(channel(named).unwrap()).check(ask()).await.unwrap();

        let (bare, at) = incoming().unwrap();
        background(Server::builder().add_service(health()).serve_with_incoming(at));
        let stack = ServiceBuilder::new().layer(layer.clone()).service(channel(bare).unwrap());
        HealthClient::new(stack).check(ask()).await.unwrap();
        assert_eq!(layer.handle().admitted(), 3);
    });
}

#[tokio::test]
async fn each_kind_fits_clients_of_hyper_util_and_reqwest_and_a_connector() {
    let address = serve(Router::new().route("/", get(handle))).await.unwrap();
    let url: reqwest::Url = format!("http://{address}/").parse().unwrap();
    with_each_kind!(layer, {
        let connects = reqwest::Client::builder().no_proxy().connector_layer(layer.clone());
        connects.build().unwrap().get(url.clone()).send().await.unwrap();

        let layer = layer.http();
        let client = ServiceBuilder::new().layer(layer.clone()).service(http1());
        let response = client.oneshot(get_of(address)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);

        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let client = ServiceBuilder::new().layer(layer.clone()).service(client);
        let request = reqwest::Request::new(Method::GET, url.clone());
        let response = client.oneshot(request).await.unwrap();
        // What reqwest knows of a response it still knows.
        assert_eq!(response.url(), &url);
        assert_eq!(response.remote_addr(), Some(address));
        assert_eq!(response.content_length(), Some(6));
        assert_eq!(response.text().await.unwrap(), "served");
        assert_eq!(layer.handle().admitted(), 3);
    });
}
