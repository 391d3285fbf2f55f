//! The layers on a server and a client of tonic, with a health service.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{future::pending, io, net::SocketAddr, time::Duration};

use buttress::{Backoff, DeadlineLayer, HttpExt, RetryLayer, http_grpc::parse_grpc_timeout};
use hyper_util::rt::TokioIo;
use loopback::{Checkup, background, channel, incoming};
use tokio::{net::TcpStream, task::JoinSet, time::Instant};
use tokio_stream::StreamExt;
use tonic::{
    Code, Request,
    service::LayerExt,
    transport::{Channel, Endpoint, Server},
};
use tonic_health::{
    ServingStatus,
    pb::{
        HealthCheckRequest, health_check_response::ServingStatus::Serving,
        health_client::HealthClient, health_server::HealthServer,
    },
};
use tower::{ServiceBuilder, service_fn};

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(20);

fn ask(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

/// A server without layers.
fn serve_bare(checkup: Checkup) -> SocketAddr {
    let (address, incoming) = incoming().unwrap();
    let server = Server::builder().add_service(HealthServer::new(checkup));
    background(server.serve_with_incoming(incoming));
    address
}

/// A server that gives its calls `timeout`.
fn serve_within(timeout: Duration) -> SocketAddr {
    let (address, incoming) = incoming().unwrap();
    let mut server = Server::builder().layer(DeadlineLayer::new(timeout).named("server").http());
    let server = server.add_service(HealthServer::new(Checkup::default()));
    background(server.serve_with_incoming(incoming));
    address
}

fn bare(address: SocketAddr) -> HealthClient<Channel> {
    HealthClient::new(channel(address).unwrap())
}

#[tokio::test]
async fn layers_on_both_sides_change_nothing_of_a_call_that_succeeds() {
    let (reporter, service) = tonic_health::server::health_reporter();
    let (address, incoming) = incoming().unwrap();
    let server = Server::builder().layer(DeadlineLayer::new(LONG).http()).add_service(service);
    background(server.serve_with_incoming(incoming));
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(LONG).http())
        .layer(RetryLayer::new(3).http())
        .service(channel(address).unwrap());
    let mut client = HealthClient::new(stack);

    let answer = client.check(ask("")).await.unwrap().into_inner();
    assert_eq!(answer.status(), Serving);
    let error = client.check(ask("unknown")).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);

    let mut watch = client.watch(ask("")).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), Serving);
    reporter.set_service_status("", ServingStatus::NotServing).await;
    let next = watch.message().await.unwrap().unwrap();
    assert_ne!(next.status(), Serving);
}

#[tokio::test]
async fn a_server_out_of_time_says_deadline_exceeded() {
    let began = Instant::now();
    let status = bare(serve_within(SHORT)).check(ask("stuck")).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.message(), "deadline `server`: deadline exceeded");
    assert!((SHORT..LONG).contains(&began.elapsed()));
}

#[tokio::test]
async fn one_service_alone_can_be_given_a_deadline() {
    let (address, incoming) = incoming().unwrap();
    let layer = DeadlineLayer::new(SHORT).http();
    let service = layer.clone().named_layer(HealthServer::new(Checkup::default()));
    background(Server::builder().add_service(service).serve_with_incoming(incoming));
    let status = bare(address).check(ask("stuck")).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(layer.handle().exceeded(), 1);
}

#[tokio::test]
async fn a_client_whose_connection_never_comes_about_stops_in_time() {
    let hanging = Endpoint::from_static("http://[::1]:1")
        .connect_with_connector_lazy(service_fn(|_| pending::<io::Result<TokioIo<TcpStream>>>()));
    let layer = DeadlineLayer::new(SHORT).http();
    let mut client = HealthClient::new(ServiceBuilder::new().layer(layer.clone()).service(hanging));
    // The second call finds the channel's own queue occupied by the first.
    for call in 1..=2 {
        let began = Instant::now();
        let status = client.check(ask("")).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!((SHORT..LONG).contains(&began.elapsed()));
        assert_eq!(layer.handle().exceeded(), call);
    }
}

/// The channel enforces the `grpc-timeout` that the layer wrote, and calls what it does so
/// "cancelled".
#[tokio::test]
async fn a_client_says_deadline_exceeded_also_where_the_channels_own_timer_is_first() {
    let address = serve_bare(Checkup::default());
    let layer = DeadlineLayer::new(SHORT).http();
    let stack = ServiceBuilder::new().layer(layer.clone()).service(channel(address).unwrap());
    let client = HealthClient::new(stack);
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let mut client = client.clone();
        calls.spawn(async move { client.check(ask("stuck")).await.unwrap_err().code() });
    }
    assert_eq!(calls.join_all().await, [Code::DeadlineExceeded; 50]);
    assert_eq!(layer.handle().exceeded(), 50);
}

#[tokio::test]
async fn a_server_cuts_a_stream_off_after_the_messages_it_had() {
    let mut client = bare(serve_within(10 * SHORT));
    let stream = client.watch(ask("stuck")).await.unwrap().into_inner();
    assert_eq!(messages_and_code(stream).await, (3, Some(Code::DeadlineExceeded)));
}

#[tokio::test]
async fn a_client_cuts_a_stream_off_after_the_messages_it_had() {
    let address = serve_bare(Checkup::default());
    let layer = DeadlineLayer::new(10 * SHORT).http();
    let stack = ServiceBuilder::new().layer(layer.clone()).service(channel(address).unwrap());
    let stream = HealthClient::new(stack).watch(ask("stuck")).await.unwrap().into_inner();
    assert_eq!(messages_and_code(stream).await, (3, Some(Code::DeadlineExceeded)));
    assert_eq!(layer.handle().exceeded(), 1);
}

#[tokio::test]
async fn a_stream_that_ends_in_time_is_left_as_it_is() {
    let stream = bare(serve_within(LONG)).watch(ask("")).await.unwrap().into_inner();
    assert_eq!(messages_and_code(stream).await, (3, None));
}

#[tokio::test]
async fn a_unary_call_is_made_three_times_with_its_message() {
    let checkup = Checkup::default();
    let address = serve_bare(checkup.clone());
    let retry = RetryLayer::new(3).backoff(Backoff::constant(SHORT)).http();
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(LONG).http())
        .layer(retry.clone())
        .service(channel(address).unwrap());
    let mut request = Request::new(ask("flaky"));
    request.metadata_mut().insert("x-user", "ada".parse().unwrap());
    let answer = HealthClient::new(stack).check(request).await.unwrap().into_inner();
    assert_eq!(answer.status(), Serving);
    assert_eq!(retry.handle().retries(), 2);

    let seen = checkup.seen();
    assert_eq!(seen.len(), 3);
    assert!(
        seen.iter()
            .all(|seen| seen.service == "flaky" && seen.metadata.get("x-user").unwrap() == "ada")
    );
    let previous = seen.iter().map(|seen| seen.metadata.get("grpc-previous-rpc-attempts"));
    let previous = previous.map(|value| value.map(|value| value.to_str().unwrap()));
    assert_eq!(previous.collect::<Vec<_>>(), [None, Some("1"), Some("2")]);
    let left = seen.iter().map(|seen| seen.metadata.get("grpc-timeout").unwrap().as_bytes());
    let left: Vec<_> = left.map(|value| parse_grpc_timeout(value).unwrap()).collect();
    assert!(left[0] <= LONG);
    assert!(left.windows(2).all(|pair| pair[1] + SHORT <= pair[0]), "{left:?}");
}

#[tokio::test]
async fn a_call_that_failed_for_good_is_made_once() {
    let (_, service) = tonic_health::server::health_reporter();
    let (address, incoming) = incoming().unwrap();
    background(Server::builder().add_service(service).serve_with_incoming(incoming));
    let retry = RetryLayer::new(3).http();
    let stack = ServiceBuilder::new().layer(retry.clone()).service(channel(address).unwrap());
    let status = HealthClient::new(stack).check(ask("unknown")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(retry.handle().retries(), 0);
}

async fn messages_and_code(
    mut stream: tonic::Streaming<tonic_health::pb::HealthCheckResponse>,
) -> (usize, Option<Code>) {
    let mut messages = 0;
    while let Some(message) = stream.next().await {
        match message {
            Ok(_) => messages += 1,
            Err(status) => return (messages, Some(status.code())),
        }
    }
    (messages, None)
}
