//! A circuit breaker on clients of hyper-util and reqwest, on a connector, and on a service of the user's own.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use buttress::{
    Http, HttpExt, Reason, Rejection, Verdict,
    breaker::{Backoff, BreakerLayer, CircuitState},
    http_grpc::{Authority, ResponseHead},
};
use http::{Method, StatusCode, header::RETRY_AFTER};
use loopback::{get_of, http1, http2, listen, read, serve};
use tower::{Layer, ServiceExt, service_fn};

/// Open for longer than a test takes.
fn breaker() -> BreakerLayer {
    BreakerLayer::new().open_for(Backoff::constant(Duration::from_secs(100))).named("upstream")
}

/// A server whose every answer is 500.
async fn failing() -> SocketAddr {
    let reply = async || (StatusCode::INTERNAL_SERVER_ERROR, "broken");
    serve(Router::new().route("/", get(reply))).await.unwrap()
}

/// An address that refuses connections.
async fn refusing() -> SocketAddr {
    let (address, listener) = listen().await.unwrap();
    drop(listener);
    address
}

fn client_of_reqwest() -> reqwest::Client {
    reqwest::Client::builder().retry(reqwest::retry::never()).no_proxy().build().unwrap()
}

fn request_of_reqwest(address: SocketAddr) -> reqwest::Request {
    reqwest::Request::new(Method::GET, format!("http://{address}/").parse().unwrap())
}

#[tokio::test]
async fn client_of_hyper_is_answered_with_503_while_the_circuit_is_open() {
    for client in [http1(), http2()] {
        let (address, layer): (_, BreakerLayer<Http>) = (failing().await, breaker().http());
        let client = layer.layer(client);
        for _ in 0..5 {
            let response = client.clone().oneshot(get_of(address, "")).await.unwrap();
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(read(response).await, "broken");
        }
        let rejected = client.oneshot(get_of(address, "")).await.unwrap();
        assert_eq!(rejected.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(rejected.headers()[RETRY_AFTER], "100");
        let rejection = rejected.rejection().unwrap();
        assert_eq!(rejection.reason(), Reason::CircuitOpen);
        assert_eq!(rejection.origin().to_string(), "breaker `upstream`");
    }
}

#[tokio::test]
async fn client_of_reqwest_is_answered_with_503_while_the_circuit_is_open() {
    let (address, layer) = (failing().await, breaker().http());
    let client = layer.layer(client_of_reqwest());
    for _ in 0..5 {
        let response = client.clone().oneshot(request_of_reqwest(address)).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.text().await.unwrap(), "broken");
    }
    let rejected = client.oneshot(request_of_reqwest(address)).await.unwrap();
    assert_eq!(rejected.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ResponseHead::rejection(&rejected).unwrap().reason(), Reason::CircuitOpen);
}

#[tokio::test]
async fn refused_connections_open_the_circuit_of_hyper_and_of_reqwest() {
    let address = refusing().await;
    let layers: [BreakerLayer<Http>; 2] = [breaker().http(), breaker().http()];
    for _ in 0..5 {
        let error = layers[0].layer(http1()).oneshot(get_of(address, "")).await.unwrap_err();
        assert!(error.is_connect());
        let call = layers[1].layer(client_of_reqwest()).oneshot(request_of_reqwest(address));
        assert!(call.await.unwrap_err().is_connect());
    }
    for layer in layers {
        assert_eq!(layer.handle().state(), CircuitState::Open);
    }
}

/// Without `.http()`: a connector's error is a `BoxError`, and stays one.
#[tokio::test]
async fn breaker_on_the_connector_of_reqwest_stops_connecting_to_a_server_that_is_gone() {
    let layer = breaker();
    let client =
        reqwest::Client::builder().no_proxy().connector_layer(layer.clone()).build().unwrap();
    let url = format!("http://{}/", refusing().await);
    for _ in 0..5 {
        let error = client.get(&url).send().await.unwrap_err();
        assert!(error.is_connect() && Rejection::in_chain(&error).is_none());
    }
    let error = client.get(&url).send().await.unwrap_err();
    assert!(error.is_connect());
    let rejection = Rejection::in_chain(&error).unwrap();
    assert_eq!(rejection.reason(), Reason::CircuitOpen);
    assert_eq!(rejection.origin().name(), "upstream");
    assert_eq!(layer.handle().rejected(), 1);
}

#[tokio::test]
async fn breaker_on_the_connector_of_reqwest_lets_connections_through() {
    let layer = breaker();
    let client =
        reqwest::Client::builder().no_proxy().connector_layer(layer.clone()).build().unwrap();
    let url = format!("http://{}/", failing().await);
    for _ in 0..10 {
        client.get(&url).send().await.unwrap();
    }
    let counts = layer.handle().counts();
    assert_eq!((counts.calls > 0, counts.failures), (true, 0), "an answer of 500 is a connection");
}

#[tokio::test]
async fn each_host_has_a_circuit_of_its_own_for_hyper_and_reqwest_alike() {
    let (down, up) = (failing().await, serve(Router::new().route("/", get("up"))).await.unwrap());
    let layer = breaker().per(Authority);
    let handle = layer.handle();
    let layer = layer.http();
    let (hyper, reqwest) = (layer.layer(http1()), layer.layer(client_of_reqwest()));
    for _ in 0..3 {
        hyper.clone().oneshot(get_of(down, "")).await.unwrap();
    }
    for _ in 0..2 {
        reqwest.clone().oneshot(request_of_reqwest(down)).await.unwrap();
    }
    let rejected = hyper.clone().oneshot(get_of(down, "")).await.unwrap();
    assert_eq!(rejected.rejection().unwrap().reason(), Reason::CircuitOpen);
    let rejected = reqwest.clone().oneshot(request_of_reqwest(down)).await.unwrap();
    assert_eq!(rejected.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(read(hyper.oneshot(get_of(up, "")).await.unwrap()).await, "up");
    let response = reqwest.oneshot(request_of_reqwest(up)).await.unwrap();
    assert_eq!(response.text().await.unwrap(), "up");
    let states =
        [down, up].map(|host| handle.for_key(&Arc::from(host.to_string())).unwrap().state());
    assert_eq!(states, [CircuitState::Open, CircuitState::Closed]);
    let mut hosts: Vec<_> = handle.circuits().into_iter().map(|(host, _)| host).collect();
    hosts.sort_unstable();
    let mut expected = [down, up].map(|host| Arc::from(host.to_string()));
    expected.sort_unstable();
    assert_eq!(hosts, expected);
}

/// The errors of a service without HTTP.
#[derive(Debug, PartialEq)]
enum DatabaseError {
    Lost,
    NoSuchRow,
    Rejected(Rejection),
}

impl From<Rejection> for DatabaseError {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

fn judge(outcome: Result<&u32, &DatabaseError>) -> Verdict {
    match outcome {
        Ok(_) => Verdict::Success,
        Err(DatabaseError::Lost) => Verdict::Transient,
        Err(DatabaseError::NoSuchRow) => Verdict::Permanent,
        Err(DatabaseError::Rejected(rejection)) => Verdict::from_rejection(rejection),
    }
}

#[tokio::test(start_paused = true)]
async fn service_with_an_error_enum_of_its_own_gets_a_circuit_per_shard() {
    let layer = breaker().keyed(|row: &u32| Some(row % 10)).classify(judge);
    let database = layer.layer(service_fn(async |row: u32| match row % 10 {
        3 => Err(DatabaseError::Lost),
        4 => Err(DatabaseError::NoSuchRow),
        _ => Ok(row),
    }));
    for round in 0..50 {
        let call = |shard| database.clone().oneshot(10 * round + shard);
        assert_eq!(call(1).await, Ok(10 * round + 1));
        assert_eq!(call(4).await, Err(DatabaseError::NoSuchRow));
        let lost = call(3).await.unwrap_err();
        assert_eq!(lost == DatabaseError::Lost, round < 5, "{round}: {lost:?}");
    }
    let states = [1, 3, 4].map(|shard| layer.handle().for_key(&shard).unwrap().state());
    assert_eq!(states, [CircuitState::Closed, CircuitState::Open, CircuitState::Closed]);
}
