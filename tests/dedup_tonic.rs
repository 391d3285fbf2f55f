//! One gRPC call for many callers, for those who say what makes two calls the same.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what helps a test may panic as the test may"
)]

use std::{net::SocketAddr, pin::Pin, time::Duration};

use buttress::{Cache, DedupLayer, Http, HttpExt, RetryLayer, layer_api::By};
use http::HeaderValue;
use loopback::{Work, background, channel, incoming, until};
use tokio::task::JoinSet;
use tokio_stream::{Stream, StreamExt, iter};
use tonic::{
    Code, Request, Response, Status, async_trait, body::Body, service::LayerExt, transport::Server,
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower::ServiceBuilder;

const LONG: Duration = Duration::from_secs(20);

/// A health service that answers when the test gives leave: with an error if there is an `error` in
/// what it is asked for, at once or at the end of its stream.
#[derive(Clone, Debug, Default)]
struct Ward(Work);

#[async_trait]
impl Health for Ward {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let call = self.0.call().await;
        match request.get_ref().service.as_str() {
            "error" => Err(failure(call)),
            "panic" => panic!("as told"),
            _ => Ok(Response::new(serving())),
        }
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let call = self.0.call().await;
        let end = (request.get_ref().service == "error").then(|| Err(failure(call)));
        Ok(Response::new(Box::pin(iter([Ok(serving()), Ok(serving())]).chain(iter(end)))))
    }
}

fn failure(call: usize) -> Status {
    let mut failure = Status::not_found(format!("by call {call}"));
    failure.metadata_mut().insert("ward", "7".parse().unwrap());
    failure
}

fn serving() -> HealthCheckResponse {
    HealthCheckResponse { status: ServingStatus::Serving.into() }
}

/// What is asked for stands in the message, which no layer reads, so it is said in the metadata too.
fn key(request: &http::Request<Body>) -> Option<(String, HeaderValue)> {
    Some((request.uri().path().to_owned(), request.headers().get("asks-for")?.clone()))
}

type Key = fn(&http::Request<Body>) -> Option<(String, HeaderValue)>;

fn dedup() -> DedupLayer<Http, By<Key>> {
    DedupLayer::keyed(key as Key).http()
}

fn ask(service: &str) -> Request<HealthCheckRequest> {
    let mut request = Request::new(HealthCheckRequest { service: service.to_owned() });
    request.metadata_mut().insert("asks-for", service.parse().unwrap());
    request
}

fn serve() -> (SocketAddr, Work) {
    let (address, incoming) = incoming().unwrap();
    let ward = Ward::default();
    let server = Server::builder().add_service(HealthServer::new(ward.clone()));
    background(server.serve_with_incoming(incoming));
    (address, ward.0)
}

/// Ten calls of stubs that are clones of one.
fn ten<T, R, F>(client: &HealthClient<T>, call: impl Fn(HealthClient<T>) -> F) -> JoinSet<R>
where
    T: Clone,
    F: Future<Output = R> + Send + 'static,
    R: Send + 'static,
{
    let mut calls = JoinSet::new();
    (0..10).for_each(|_| drop(calls.spawn(call(client.clone()))));
    calls
}

#[tokio::test]
async fn ten_calls_of_a_stub_are_one_and_all_have_its_answer_or_its_status() {
    let (address, work) = serve();
    let layer = dedup();
    let stack = ServiceBuilder::new().layer(layer.clone()).service(channel(address).unwrap());
    let client = HealthClient::new(stack);
    for (round, service) in (1..).zip(["any", "error", "any"]) {
        let calls = ten(&client, |mut client| async move { client.check(ask(service)).await });
        until(|| layer.handle().waiters() == 10 && work.running() == 1).await;
        work.allow(1);
        for answer in calls.join_all().await {
            match answer {
                Ok(answer) => {
                    assert_eq!(service, "any");
                    assert_eq!(answer.get_ref().status(), ServingStatus::Serving);
                }
                Err(status) => {
                    assert_eq!(service, "error");
                    assert_eq!((status.code(), status.message()), (Code::NotFound, "by call 2"));
                    assert_eq!(status.metadata().get("ward").unwrap(), "7");
                }
            }
        }
        assert_eq!((work.calls(), layer.handle().in_flight()), (round, 0));
    }
}

#[tokio::test]
async fn a_stream_is_the_same_for_all_callers_including_the_status_in_its_trailers() {
    let (address, work) = serve();
    let layer = dedup();
    let stack = ServiceBuilder::new().layer(layer.clone()).service(channel(address).unwrap());
    let client = HealthClient::new(stack);
    let calls = ten(&client, |mut client| async move {
        let mut stream = client.watch(ask("error")).await.unwrap().into_inner();
        let mut messages = 0;
        while stream.message().await?.is_some() {
            messages += 1;
            assert!(messages <= 2);
        }
        Ok::<_, Status>(())
    });
    until(|| layer.handle().waiters() == 10).await;
    work.allow(1);
    for answer in calls.join_all().await {
        let status = answer.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::NotFound, "by call 1"));
        assert_eq!(status.metadata().get("ward").unwrap(), "7");
    }
    until(|| layer.handle().in_flight() == 0).await;
}

#[tokio::test]
async fn calls_with_different_keys_are_separate() {
    let (address, work) = serve();
    let layer = dedup();
    let stack = ServiceBuilder::new().layer(layer.clone()).service(channel(address).unwrap());
    let client = HealthClient::new(stack);
    let mut calls = JoinSet::new();
    for service in ["a", "b", "a", "b"] {
        let mut client = client.clone();
        calls.spawn(async move { client.check(ask(service)).await.unwrap() });
        let stack = ServiceBuilder::new().layer(layer.clone()).service(channel(address).unwrap());
        let mut client = HealthClient::new(stack);
        calls.spawn(async move { client.check(ask(service)).await.unwrap() });
    }
    until(|| layer.handle().waiters() == 8).await;
    assert_eq!(layer.handle().in_flight(), 2);
    work.allow(2);
    calls.join_all().await;
    assert_eq!(work.calls(), 2);
}

#[tokio::test]
async fn a_grpc_call_bypasses_deduplication_by_default() {
    let (address, work) = serve();
    let layer = DedupLayer::new().cache(Cache::new(LONG)).http();
    let stack = ServiceBuilder::new().layer(layer.clone()).service(channel(address).unwrap());
    let client = HealthClient::new(stack);
    let calls = ten(&client, |mut client| async move { client.check(ask("any")).await.unwrap() });
    until(|| work.running() == 10).await;
    work.allow(10);
    calls.join_all().await;
    assert_eq!((layer.handle().bypassed(), layer.handle().leaders()), (10, 0));
}

/// Whether it failed is known at its end, and even a status of 0 says nothing of for how long.
#[tokio::test]
async fn an_answer_of_grpc_is_never_kept() {
    let (address, work) = serve();
    work.allow(4);
    let layer = DedupLayer::keyed(key)
        .cache(Cache::new(LONG).negative_ttl(LONG).stale_if_error(LONG))
        .http();
    let stack = ServiceBuilder::new().layer(layer.clone()).service(channel(address).unwrap());
    let mut client = HealthClient::new(stack);
    for _ in 0..2 {
        client.check(ask("any")).await.unwrap();
        client.check(ask("error")).await.unwrap_err();
    }
    assert_eq!((work.calls(), layer.handle().cache_entries()), (4, 0));
}

#[tokio::test]
async fn a_server_answers_many_clients_with_one_call() {
    let (address, incoming) = incoming().unwrap();
    let (ward, layer, service) = (Ward::default(), dedup(), dedup());
    // The layer around everything, and one around a service alone.
    let inner = service.clone().named_layer(HealthServer::new(ward.clone()));
    let server = Server::builder().layer(layer.clone()).add_service(inner);
    background(server.serve_with_incoming(incoming));
    for (asks, code) in [("any", Code::Ok), ("error", Code::NotFound)] {
        let mut calls = JoinSet::new();
        for _ in 0..10 {
            let mut client = HealthClient::new(channel(address).unwrap());
            calls.spawn(async move { client.check(ask(asks)).await });
        }
        until(|| layer.handle().waiters() == 10 && ward.0.running() == 1).await;
        ward.0.allow(1);
        for answer in calls.join_all().await {
            assert_eq!(answer.map_or_else(|status| status.code(), |_| Code::Ok), code);
        }
        until(|| layer.handle().waiters() == 0).await;
    }
    assert_eq!((ward.0.calls(), layer.handle().leaders(), service.handle().leaders()), (2, 2, 2));
}

#[tokio::test]
async fn a_service_that_panics_is_internal_for_all_callers() {
    let (address, incoming) = incoming().unwrap();
    let (ward, layer) = (Ward::default(), dedup());
    let mut server = Server::builder().layer(layer.clone());
    let server = server.add_service(HealthServer::new(ward.clone()));
    background(server.serve_with_incoming(incoming));
    let client = HealthClient::new(channel(address).unwrap());
    let calls = ten(&client, |mut client| async move { client.check(ask("panic")).await });
    until(|| layer.handle().waiters() == 10).await;
    ward.0.allow(1);
    for answer in calls.join_all().await {
        let status = answer.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Internal, "dedup: the work panicked"));
    }
    assert_eq!((ward.0.calls(), layer.handle().panics()), (1, 1));
}

#[tokio::test]
async fn attempts_of_a_stub_are_made_once_for_all_callers() {
    let (address, work) = serve();
    let layer = dedup();
    let stack = ServiceBuilder::new()
        .layer(layer.clone())
        .layer(RetryLayer::new(3).http())
        .service(channel(address).unwrap());
    let client = HealthClient::new(stack);
    let calls = ten(&client, |mut client| async move { client.check(ask("any")).await.unwrap() });
    until(|| layer.handle().waiters() == 10).await;
    work.allow(1);
    calls.join_all().await;
    assert_eq!(work.calls(), 1);
}
