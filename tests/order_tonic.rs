//! Keyed order on a server and on stubs of tonic, for unary calls and streams.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{net::SocketAddr, time::Duration};

use buttress::{HttpExt, OrderLayer};
use http::Request;
use loopback::{background, channel, incoming, until};
use tokio::{task::JoinSet, time::timeout};
use tonic::{
    Code, GrpcMethod, Status, Streaming,
    body::Body,
    transport::{Channel, Server},
};
use tonic_health::{
    ServingStatus,
    pb::{
        HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus as Answer,
        health_client::HealthClient,
    },
    server::HealthReporter,
};
use tower::ServiceBuilder;

/// What a test that does not hang stays below by far.
const LONG: Duration = Duration::from_secs(20);

/// The user of a call, from its metadata.
fn user_of(request: &Request<Body>) -> Option<String> {
    Some(request.headers().get("x-user")?.to_str().ok()?.to_owned())
}

/// The method of a call that a stub makes.
fn method_of(request: &Request<Body>) -> Option<String> {
    Some(request.extensions().get::<GrpcMethod<'static>>()?.method().to_owned())
}

fn ask(service: &str, user: &str) -> tonic::Request<HealthCheckRequest> {
    let mut request = tonic::Request::new(HealthCheckRequest { service: service.to_owned() });
    request.metadata_mut().insert("x-user", user.parse().unwrap());
    request
}

/// A server behind `layer`, whose streams end when the reporter forgets their service.
macro_rules! serve_behind {
    ($layer:expr) => {{
        let (reporter, health) = tonic_health::server::health_reporter();
        for service in ["first", "second"] {
            reporter.set_service_status(service, ServingStatus::Serving).await;
        }
        let (address, incoming) = incoming().unwrap();
        let server = Server::builder().layer($layer).add_service(health);
        background(server.serve_with_incoming(incoming));
        let reporter: HealthReporter = reporter;
        (address, reporter)
    }};
}

fn bare(address: SocketAddr) -> HealthClient<Channel> {
    HealthClient::new(channel(address).unwrap())
}

async fn next(stream: &mut Streaming<HealthCheckResponse>) -> Result<Option<Answer>, Status> {
    let message = timeout(LONG, stream.message()).await.unwrap()?;
    Ok(message.map(|answer| answer.status()))
}

#[tokio::test]
async fn streams_of_a_user_take_turns_on_a_server() {
    let layer = OrderLayer::serial(user_of).http();
    let handle = layer.handle();
    let (address, mut reporter) = serve_behind!(layer);
    let mut client = bare(address);
    let mut first = client.watch(ask("first", "ann")).await.unwrap().into_inner();
    assert_eq!(next(&mut first).await.unwrap(), Some(Answer::Serving));
    let mut waiting = JoinSet::new();
    let mut other = client.clone();
    waiting.spawn(async move { other.watch(ask("second", "ann")).await });
    until(|| handle.waiting(&"ann".to_owned()) == 1).await;
    let unary = client.check(ask("first", "bob")).await.unwrap();
    assert_eq!(unary.into_inner().status(), Answer::Serving);
    reporter.clear_service_status("first").await;
    assert_eq!(next(&mut first).await.unwrap(), None);
    let mut second = waiting.join_next().await.unwrap().unwrap().unwrap().into_inner();
    assert_eq!(next(&mut second).await.unwrap(), Some(Answer::Serving));
    drop(second);
    until(|| handle.keys() == 0).await;
}

/// OR-02. No message passes after a later call of the user came, and the stream ends with 14.
#[tokio::test]
async fn superseded_stream_delivers_no_late_message_and_ends_with_unavailable() {
    for overlapping in [false, true] {
        let latest = OrderLayer::latest(user_of).named("feed").http();
        let (handle, (address, reporter)) = if overlapping {
            let layer = latest.overlapping();
            (layer.handle(), serve_behind!(layer))
        } else {
            (latest.handle(), serve_behind!(latest))
        };
        let mut client = bare(address);
        let mut older = client.watch(ask("first", "ann")).await.unwrap().into_inner();
        assert_eq!(next(&mut older).await.unwrap(), Some(Answer::Serving));
        let mut newest = client.watch(ask("second", "ann")).await.unwrap().into_inner();
        reporter.set_service_status("first", ServingStatus::NotServing).await;
        let status = next(&mut older).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.message(), "order `feed`: superseded by a later call");
        let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap();
        assert_eq!(pushback, "-1");
        assert_eq!(next(&mut newest).await.unwrap(), Some(Answer::Serving));
        drop(newest);
        until(|| handle.keys() == 0).await;
        assert_eq!(handle.superseded(), 1);
    }
}

/// On the side of the client: the clones of a stub share the turns of their methods.
#[tokio::test]
async fn clones_of_a_stub_take_turns() {
    let server = OrderLayer::serial(|_: &Request<Body>| None::<()>).http();
    let (address, mut reporter) = serve_behind!(server);
    let layer = OrderLayer::serial(method_of).queue(1).named("stub").http();
    let handle = layer.handle();
    let client =
        HealthClient::new(ServiceBuilder::new().layer(layer).service(channel(address).unwrap()));
    let (mut one, mut two) = (client.clone(), client.clone());
    let mut first = one.watch(ask("first", "ann")).await.unwrap().into_inner();
    assert_eq!(next(&mut first).await.unwrap(), Some(Answer::Serving));
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { two.watch(ask("second", "bob")).await });
    until(|| handle.waiting(&"Watch".to_owned()) == 1).await;
    // Another method has its own turns, and a third stream finds the queue full.
    one.check(ask("first", "ann")).await.unwrap();
    let full = one.watch(ask("first", "ann")).await.unwrap_err();
    assert_eq!(full.code(), Code::Unavailable);
    assert_eq!(full.message(), "order `stub`: overloaded");
    reporter.clear_service_status("first").await;
    assert_eq!(next(&mut first).await.unwrap(), None);
    let second = waiting.join_next().await.unwrap().unwrap().unwrap();
    // A stream that is dropped passes its turn on at once.
    drop(second);
    assert_eq!(handle.keys(), 0);
    one.watch(ask("second", "ann")).await.unwrap();
}

#[tokio::test]
async fn latest_call_of_a_stub_ends_the_stream_of_its_clone() {
    let server = OrderLayer::serial(|_: &Request<Body>| None::<()>).http();
    let (address, _reporter) = serve_behind!(server);
    let layer = OrderLayer::latest(method_of).http();
    let handle = layer.handle();
    let client =
        HealthClient::new(ServiceBuilder::new().layer(layer).service(channel(address).unwrap()));
    let (mut one, mut two) = (client.clone(), client.clone());
    let mut older = one.watch(ask("first", "ann")).await.unwrap().into_inner();
    // The first message may be buffered by now, and is not delivered.
    let mut newest = JoinSet::new();
    newest.spawn(async move { two.watch(ask("second", "ann")).await });
    until(|| handle.waiting(&"Watch".to_owned()) == 1).await;
    let status = next(&mut older).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let mut newest = newest.join_next().await.unwrap().unwrap().unwrap().into_inner();
    assert_eq!(next(&mut newest).await.unwrap(), Some(Answer::Serving));
    assert_eq!(handle.superseded(), 1);
}
