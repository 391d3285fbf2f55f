//! A deadline on its way: client, axum, handler, client of tonic, server of tonic.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what helps a test may panic as the test may"
)]

use std::{net::SocketAddr, time::Duration};

use axum::{Router, extract::Path, http::StatusCode, routing::get};
use buttress::{BoxError, Deadline, DeadlineLayer, Http, HttpExt};
use http::{HeaderName, Request};
use http_body_util::BodyExt;
use loopback::{Checkup, background, channel, http1, incoming, nothing, serve};
use tokio::time::Instant;
use tonic::{
    Code,
    transport::{Channel, Server},
};
use tonic_health::pb::{
    HealthCheckRequest, health_client::HealthClient, health_server::HealthServer,
};
use tower::ServiceBuilder;

const WORK: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(30);
const TIME_LEFT: HeaderName = HeaderName::from_static("x-request-timeout-ms");

/// What is asked of the service of tonic, and what was left before and after the handler's work.
async fn handle(Path(service): Path<String>, backend: Channel) -> (StatusCode, String) {
    let on_arrival = left();
    tokio::time::sleep(WORK).await;
    let after_work = left();
    // Without a timeout of its own: the handler's is all there is.
    let stack = ServiceBuilder::new().layer(DeadlineLayer::propagate().http()).service(backend);
    match HealthClient::new(stack).check(HealthCheckRequest { service }).await {
        Ok(_) => (StatusCode::OK, format!("{on_arrival} {after_work}")),
        Err(status) if status.code() == Code::DeadlineExceeded => {
            (StatusCode::IM_A_TEAPOT, status.message().to_owned())
        }
        Err(status) => (StatusCode::INTERNAL_SERVER_ERROR, status.to_string()),
    }
}

fn left() -> u128 {
    Deadline::current().expect("a layer entered it").remaining().as_micros()
}

/// Both servers, and where the first is.
async fn two_servers(checkup: Checkup) -> Result<SocketAddr, BoxError> {
    let (address, incoming) = incoming()?;
    let mut server = Server::builder().layer(DeadlineLayer::propagate().http());
    let server = server.add_service(HealthServer::new(checkup));
    background(server.serve_with_incoming(incoming));
    let backend = channel(address)?;
    let handler = move |path| handle(path, backend.clone());
    let layer = DeadlineLayer::new(PATIENCE).http_with(Http::new().timeout_header(TIME_LEFT));
    Ok(serve(Router::new().route("/{service}", get(handler)).layer(layer)).await?)
}

async fn ask(url: String, left: Option<&str>) -> (StatusCode, String) {
    let mut request = Request::get(url).body(nothing()).unwrap();
    if let Some(left) = left {
        request.headers_mut().insert(TIME_LEFT, left.parse().unwrap());
    }
    let response = http1().request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn each_hop_has_less_time_left() {
    let checkup = Checkup::default();
    let address = two_servers(checkup.clone()).await.unwrap();
    let began = Instant::now();
    let (status, told) = ask(format!("http://{address}/any"), Some("20000")).await;
    let took = began.elapsed();
    assert_eq!(status, StatusCode::OK, "{told}");
    let told = told.split(' ').map(|micros| Duration::from_micros(micros.parse().unwrap()));
    let hops: Vec<_> = told.chain(checkup.seen()[0].left).collect();
    let [on_arrival, after_work, in_backend] = hops[..] else { panic!("{hops:?}") };

    // The header shortened the layer's own 30 s, and nothing was lost but time that went by.
    let sent = Duration::from_secs(20);
    assert!(on_arrival <= sent);
    assert!(after_work + WORK <= on_arrival + MICROSECOND);
    assert!(in_backend <= after_work + MICROSECOND);
    assert!(in_backend + took + ROUNDING >= sent, "{hops:?} in {took:?}");
}

#[tokio::test]
async fn the_callers_patience_ends_a_call_two_hops_away() {
    let checkup = Checkup::default();
    let address = two_servers(checkup.clone()).await.unwrap();
    let began = Instant::now();
    let (status, _) = ask(format!("http://{address}/stuck"), Some("2000")).await;
    // The handler and the layer around it have the same deadline. Whoever is polled first answers.
    assert!(matches!(status, StatusCode::IM_A_TEAPOT | StatusCode::GATEWAY_TIMEOUT), "{status}");
    assert!((Duration::from_secs(2)..PATIENCE).contains(&began.elapsed()));
    let seen = checkup.seen();
    assert!(seen[0].left.unwrap() + WORK <= Duration::from_secs(2));
}

#[tokio::test]
async fn a_call_without_time_left_is_not_passed_on() {
    let checkup = Checkup::default();
    let address = two_servers(checkup.clone()).await.unwrap();
    let (status, _) = ask(format!("http://{address}/any"), Some("100")).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    assert!(checkup.seen().is_empty());
}

/// What was told is in whole microseconds.
const MICROSECOND: Duration = Duration::from_micros(1);
/// `grpc-timeout` and the header round down, each by less than a millisecond.
const ROUNDING: Duration = Duration::from_millis(3);
