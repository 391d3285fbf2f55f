//! A fallback on a server and a client of tonic, for unary calls and streams.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use buttress::{
    FallbackLayer, FallbackSnapshot, Http, HttpExt, Verdict, http_grpc::parse_grpc_timeout,
};
use buttress_testkit::counts;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use loopback::{Checkup, background, channel, incoming, listen};
use tokio_stream::StreamExt;
use tonic::{Code, Request, body::Body, transport::Server};
use tonic_health::pb::{
    HealthCheckRequest,
    health_check_response::ServingStatus::{ServiceUnknown, Serving},
    health_client::HealthClient,
    health_server::HealthServer,
};
use tower::ServiceBuilder;

const SHORT: Duration = Duration::from_millis(50);
const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");

fn ask(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

/// A server without layers.
fn serve(checkup: &Checkup) -> SocketAddr {
    let (address, incoming) = incoming().unwrap();
    let server = Server::builder().add_service(HealthServer::new(checkup.clone()));
    background(server.serve_with_incoming(incoming));
    address
}

/// An address that refuses connections.
async fn refusing() -> SocketAddr {
    let (address, listener) = listen().await.unwrap();
    drop(listener);
    address
}

/// The answer of a health service that does not know: one message, and a status in the trailers.
fn unknown<B, E>(_: Verdict, _: Result<&Response<B>, &E>) -> Response<Body> {
    let status = u8::try_from(i32::from(ServiceUnknown)).unwrap();
    // A length-prefixed message with a single field of one byte.
    let message = Bytes::from(vec![0, 0, 0, 0, 2, 8, status]);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Frame::data(message), Frame::trailers(trailers)].map(Ok::<_, Infallible>);
    let mut response = Response::new(Body::new(StreamBody::new(tokio_stream::iter(frames))));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

#[tokio::test]
async fn server_answers_unavailable_calls_and_passes_all_others() {
    let layer = FallbackLayer::answer(unknown).http();
    let (address, incoming) = incoming().unwrap();
    let health = HealthServer::new(Checkup::default());
    let server = Server::builder().layer(layer.clone()).add_service(health);
    background(server.serve_with_incoming(incoming));
    let mut client = HealthClient::new(channel(address).unwrap());
    let first = client.check(ask("flaky")).await.unwrap().into_inner();
    assert_eq!(first.status(), ServiceUnknown);
    let second = client.check(ask("")).await.unwrap().into_inner();
    assert_eq!(second.status(), Serving);
    let messages: Vec<_> = client.watch(ask("")).await.unwrap().into_inner().collect().await;
    assert_eq!(messages.len(), 3);
    assert!(messages.iter().all(|message| message.as_ref().unwrap().status() == Serving));
    let expected = counts!(FallbackSnapshot { calls: 3, answered: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
}

/// tonic's stub drops the extensions of a response.
#[tokio::test]
async fn header_marks_the_answer_to_a_stub() {
    let layer = FallbackLayer::answer(unknown);
    let layer = layer.http_with(Http::new().fallback_header(SERVED_BY));
    let address = serve(&Checkup::default());
    let stack = ServiceBuilder::new().layer(layer).service(channel(address).unwrap());
    let mut client = HealthClient::new(stack);
    let answer = client.check(ask("flaky")).await.unwrap();
    assert_eq!(answer.metadata().get("x-served-by").unwrap(), "fallback");
    assert_eq!(answer.get_ref().status(), ServiceUnknown);
    let own = client.check(ask("")).await.unwrap();
    assert!(own.metadata().get("x-served-by").is_none());
}

#[tokio::test]
async fn clones_of_a_stub_ask_the_other_channel_for_unary_calls_and_streams() {
    let other = Checkup::default();
    let second = channel(serve(&other)).unwrap();
    let layer = FallbackLayer::service(second).http();
    let first = channel(refusing().await).unwrap();
    let client = HealthClient::new(ServiceBuilder::new().layer(layer.clone()).service(first));
    for calls in 1..=2 {
        let mut client = client.clone();
        let answer = client.check(ask("unary")).await.unwrap().into_inner();
        assert_eq!(answer.status(), Serving);
        let messages: Vec<_> =
            client.watch(ask("stream")).await.unwrap().into_inner().collect().await;
        assert_eq!(messages.len(), 3);
        assert!(messages.iter().all(Result::is_ok));
        let expected = counts!(FallbackSnapshot { calls: 2 * calls, answered: 2 * calls });
        assert_eq!(layer.handle().snapshot(), expected);
    }
    let asked: Vec<_> = other.seen().into_iter().map(|seen| seen.service).collect();
    assert_eq!(asked, ["unary", "stream", "unary", "stream"]);
}

/// The first server has read the message, and the other one gets it again.
#[tokio::test]
async fn other_channel_gets_the_message_after_an_unavailable_answer() {
    let (one, other) = (Checkup::default(), Checkup::default());
    let layer = FallbackLayer::service(channel(serve(&other)).unwrap()).http();
    let first = channel(serve(&one)).unwrap();
    let stack = ServiceBuilder::new().layer(layer.clone()).service(first);
    // The other server is flaky, too: the first call fails on both.
    let mut client = HealthClient::new(stack);
    let status = client.check(ask("flaky")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "not yet"));
    assert_eq!((one.seen().len(), other.seen().len()), (1, 1));
    assert_eq!(other.seen()[0].service, "flaky");
    assert_eq!(layer.handle().failed(), 1);
}

#[tokio::test]
async fn other_channel_is_told_the_time_left_of_the_call() {
    let other = Checkup::default();
    let layer = FallbackLayer::service(channel(serve(&other)).unwrap()).http();
    let first = ServiceBuilder::new()
        .map_future(async |call| {
            tokio::time::sleep(SHORT).await;
            call.await
        })
        .service(channel(refusing().await).unwrap());
    let stack = ServiceBuilder::new().layer(layer).service(first);
    let mut request = Request::new(ask(""));
    request.set_timeout(Duration::from_secs(20));
    HealthClient::new(stack).check(request).await.unwrap();
    let told = other.seen()[0].metadata.get("grpc-timeout").cloned().unwrap();
    let told = parse_grpc_timeout(told.as_bytes()).unwrap();
    // 20 s are in the request, and the first call takes its time.
    assert!(told + SHORT <= Duration::from_secs(20) && !told.is_zero(), "{told:?}");
}

/// tonic's own timer ends the call at its deadline, and no time is left for the other channel.
#[tokio::test]
async fn other_channel_is_not_asked_after_the_deadline_of_the_call() {
    let other = Checkup::default();
    let layer = FallbackLayer::service(channel(serve(&other)).unwrap()).http();
    let first = channel(serve(&Checkup::default())).unwrap();
    let stack = ServiceBuilder::new().layer(layer.clone()).service(first);
    let mut request = Request::new(ask("stuck"));
    request.set_timeout(SHORT);
    HealthClient::new(stack).check(request).await.unwrap_err();
    assert!(other.seen().is_empty());
    let expected = counts!(FallbackSnapshot { calls: 1, failed: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test]
async fn not_found_passes() {
    let (_reporter, health) = tonic_health::server::health_reporter();
    let (address, incoming) = incoming().unwrap();
    let server = Server::builder().add_service(health);
    background(server.serve_with_incoming(incoming));
    let layer = FallbackLayer::answer(unknown).http();
    let stack = ServiceBuilder::new().layer(layer.clone()).service(channel(address).unwrap());
    let status = HealthClient::new(stack).check(ask("nothing")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(layer.handle().snapshot(), counts!(FallbackSnapshot { calls: 1 }));
}
