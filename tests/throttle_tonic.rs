//! A limit on a server and a client of tonic, for unary calls and streams.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{net::SocketAddr, time::Duration};

use buttress::{Http, HttpExt, ThrottleLayer};
use http::Request;
use loopback::{Checkup, background, channel, incoming, until};
use tokio::{task::JoinSet, time::timeout};
use tonic::{
    Code, GrpcMethod, Streaming,
    body::Body,
    service::LayerExt,
    transport::{Channel, Server},
};
use tonic_health::{
    ServingStatus,
    pb::{
        HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus as Answer,
        health_client::HealthClient, health_server::HealthServer,
    },
    server::HealthReporter,
};
use tower::{Layer, ServiceBuilder};

/// What a test that does not hang stays below by far.
const LONG: Duration = Duration::from_secs(20);

type Limit = ThrottleLayer<Http>;
type Limited = <Limit as Layer<Channel>>::Service;

fn limit(limit: u32) -> Limit {
    ThrottleLayer::concurrency(limit).named("health").http()
}

fn ask(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

/// A limited server whose streams end when the reporter forgets their service.
async fn serve_behind(layer: &Limit, services: &[&str]) -> (SocketAddr, HealthReporter) {
    let (reporter, health) = tonic_health::server::health_reporter();
    for service in services {
        reporter.set_service_status(service, ServingStatus::Serving).await;
    }
    let (address, incoming) = incoming().unwrap();
    let server = Server::builder().layer(layer.clone()).add_service(health);
    background(server.serve_with_incoming(incoming));
    (address, reporter)
}

fn bare(address: SocketAddr) -> HealthClient<Channel> {
    HealthClient::new(channel(address).unwrap())
}

fn limited(layer: &Limit, address: SocketAddr) -> HealthClient<Limited> {
    HealthClient::new(ServiceBuilder::new().layer(layer.clone()).service(channel(address).unwrap()))
}

async fn next(stream: &mut Streaming<HealthCheckResponse>) -> Option<Answer> {
    stream.message().await.unwrap().map(|answer| answer.status())
}

#[tokio::test]
async fn a_limited_server_says_unavailable_and_which_layer_it_was() {
    let layer = limit(1);
    let (address, mut reporter) = serve_behind(&layer, &["a"]).await;
    let mut client = bare(address);
    let mut stream = client.watch(ask("a")).await.unwrap().into_inner();
    let unary = client.check(ask("")).await.unwrap_err();
    let streaming = client.watch(ask("")).await.unwrap_err();
    for status in [unary, streaming] {
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.message(), "throttle `health`: overloaded");
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms"), None);
    }
    assert_eq!(next(&mut stream).await, Some(Answer::Serving));
    reporter.clear_service_status("a").await;
    assert_eq!(next(&mut stream).await, None);
    assert_eq!(client.check(ask("")).await.unwrap().into_inner().status(), Answer::Serving);
    assert_eq!(layer.handle().admitted(), 2);
    assert_eq!(layer.handle().rejected(), 2);
}

#[tokio::test]
async fn a_unary_call_is_over_with_its_answer_or_its_error() {
    let layer = limit(1);
    let (address, _reporter) = serve_behind(&layer, &[]).await;
    let client_side = limit(1);
    let mut client = limited(&client_side, address);
    for _ in 0..3 {
        client.check(ask("")).await.unwrap();
        assert_eq!(layer.handle().in_flight(), 0);
        assert_eq!(client_side.handle().in_flight(), 0);
        let error = client.check(ask("unknown")).await.unwrap_err();
        assert_eq!(error.code(), Code::NotFound);
        assert_eq!(layer.handle().in_flight(), 0);
        assert_eq!(client_side.handle().in_flight(), 0);
    }
    assert_eq!(layer.handle().rejected(), 0);
    assert_eq!(client_side.handle().rejected(), 0);
}

#[tokio::test]
async fn one_service_alone_can_be_limited() {
    let layer = limit(1);
    let (address, incoming) = incoming().unwrap();
    let service = layer.clone().named_layer(HealthServer::new(Checkup::default()));
    background(Server::builder().add_service(service).serve_with_incoming(incoming));
    let mut client = bare(address);
    let _stream = client.watch(ask("stuck")).await.unwrap();
    let status = client.check(ask("")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(layer.handle().rejected(), 1);
}

/// One stream runs, another waits for it under `layer`, which is on either side.
async fn take_turns<F>(
    layer: &Limit,
    watch: impl Fn(&'static str) -> F,
    mut reporter: HealthReporter,
) where
    F: Future<Output = Streaming<HealthCheckResponse>> + Send + 'static,
{
    let mut first = watch("first").await;
    let mut waiting = JoinSet::new();
    waiting.spawn(watch("second"));
    until(|| layer.handle().queued() == 1).await;
    assert_eq!(next(&mut first).await, Some(Answer::Serving));
    reporter.set_service_status("first", ServingStatus::NotServing).await;
    assert_eq!(next(&mut first).await, Some(Answer::NotServing));
    assert_eq!(layer.handle().in_flight(), 1);
    assert_eq!(layer.handle().queued(), 1);
    reporter.clear_service_status("first").await;
    assert_eq!(next(&mut first).await, None);
    let mut second = waiting.join_next().await.unwrap().unwrap();
    assert_eq!(next(&mut second).await, Some(Answer::Serving));
    assert_eq!(layer.handle().in_flight(), 1);
    assert_eq!(layer.handle().queued(), 0);
}

#[tokio::test]
async fn streams_of_a_limited_server_do_not_overlap() {
    let layer = limit(1).queue(1);
    let (address, reporter) = serve_behind(&layer, &["first", "second"]).await;
    let client = bare(address);
    let watch = |service| {
        let mut client = client.clone();
        async move { client.watch(ask(service)).await.unwrap().into_inner() }
    };
    take_turns(&layer, watch, reporter).await;
}

#[tokio::test]
async fn streams_of_a_limited_client_do_not_overlap() {
    let layer = limit(1).queue(1);
    let (address, reporter) = serve_behind(&limit(9), &["first", "second"]).await;
    let client = limited(&layer, address);
    let watch = |service| {
        let mut client = client.clone();
        async move { client.watch(ask(service)).await.unwrap().into_inner() }
    };
    take_turns(&layer, watch, reporter).await;
}

#[tokio::test]
async fn a_client_that_drops_its_stream_frees_the_servers_permit() {
    let layer = limit(1).queue(1);
    let (address, _reporter) = serve_behind(&layer, &["first"]).await;
    let stream = bare(address).watch(ask("first")).await.unwrap();
    let mut waiting = bare(address);
    let mut queued = JoinSet::new();
    queued.spawn(async move { waiting.check(ask("")).await.unwrap().into_inner().status() });
    until(|| layer.handle().queued() == 1).await;
    drop(stream);
    let served = timeout(LONG, queued.join_next()).await.unwrap();
    assert_eq!(served.unwrap().unwrap(), Answer::Serving);
}

#[tokio::test]
async fn a_stream_that_is_dropped_frees_its_clients_permit_at_once() {
    let layer = limit(1);
    let (address, _reporter) = serve_behind(&limit(9), &["first"]).await;
    let mut client = limited(&layer, address);
    let stream = client.watch(ask("first")).await.unwrap();
    let status = client.check(ask("")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "throttle `health`: overloaded");
    drop(stream);
    assert_eq!(layer.handle().in_flight(), 0);
    client.check(ask("")).await.unwrap();
}

#[tokio::test]
async fn each_method_of_a_client_can_have_a_limit_of_its_own() {
    let method = |request: &Request<Body>| {
        let method = request.extensions().get::<GrpcMethod<'static>>()?;
        Some(method.method().to_owned())
    };
    let layer = ThrottleLayer::concurrency(1).keyed(method).named("health").http();
    let (address, _reporter) = serve_behind(&limit(9), &["first"]).await;
    let stack = ServiceBuilder::new().layer(layer.clone()).service(channel(address).unwrap());
    let mut client = HealthClient::new(stack);
    let stream = client.watch(ask("first")).await.unwrap();
    client.check(ask("")).await.unwrap();
    let status = client.watch(ask("first")).await.unwrap_err();
    assert_eq!(status.message(), "throttle `health`: overloaded");
    let watch = layer.handle().for_key(&"Watch".to_owned()).unwrap();
    assert_eq!(watch.in_flight(), 1);
    assert_eq!(watch.admitted(), 1);
    drop(stream);
    client.watch(ask("first")).await.unwrap();
    assert_eq!(layer.handle().admitted(), 3);
    assert_eq!(layer.handle().rejected(), 1);
}
