//! Hedges on clients and servers of tonic.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "what helps a test may panic and spawn as the test may"
)]

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress::{
    Budget, Http, HttpExt, Idempotent,
    hedge::{HedgeLayer, WithheldReason},
};
use bytes::Bytes;
use loopback::{background, channel, incoming, until_at_this_time};
use tokio::{task::JoinHandle, time::advance};
use tokio_stream::{Stream, StreamExt, iter};
use tonic::{
    Code, Request, Response, Status, async_trait, metadata::MetadataMap, transport::Channel,
    transport::Server,
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus::{NotServing, Serving},
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower::{Layer, ServiceBuilder, ServiceExt};

const MS: Duration = Duration::from_millis(1);

/// A health service whose first call of each kind hangs, and which records its calls.
///
/// The second call fails as the request asks, and all others succeed.
#[derive(Clone, Default)]
struct FirstHangs(Arc<Mutex<Vec<MetadataMap>>>);

impl FirstHangs {
    fn calls(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn metadata(&self, call: usize, key: &str) -> Option<String> {
        let calls = self.0.lock().unwrap();
        calls.get(call)?.get(key).map(|value| value.to_str().unwrap().to_owned())
    }

    async fn answer(&self, request: &Request<HealthCheckRequest>) -> Result<(), Status> {
        let call = {
            let mut calls = self.0.lock().unwrap();
            calls.push(request.metadata().clone());
            calls.len()
        };
        let mut status = Status::unavailable("busy");
        match (call, request.get_ref().service.as_str()) {
            (1, _) => std::future::pending().await,
            (2, "not_found") => Err(Status::not_found("no such service")),
            (2, "unavailable") => Err(status),
            (2, pushback @ ("300" | "-1")) => {
                status.metadata_mut().insert("grpc-retry-pushback-ms", pushback.parse().unwrap());
                Err(status)
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Health for FirstHangs {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.answer(&request).await?;
        Ok(Response::new(HealthCheckResponse { status: Serving.into() }))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.answer(&request).await?;
        let statuses = [Serving, NotServing, Serving]
            .map(|status| Ok(HealthCheckResponse { status: status.into() }));
        Ok(Response::new(Box::pin(iter(statuses))))
    }
}

fn serve() -> (SocketAddr, FirstHangs) {
    let (address, incoming) = incoming().unwrap();
    let health = FirstHangs::default();
    let server = Server::builder().add_service(HealthServer::new(health.clone()));
    background(server.serve_with_incoming(incoming));
    (address, health)
}

fn hedge() -> HedgeLayer {
    HedgeLayer::after(50 * MS).budget(Budget::unlimited())
}

type Client = HealthClient<buttress::hedge::Hedge<Channel, Http>>;

/// A client whose calls are declared idempotent.
fn client(address: SocketAddr, layer: &HedgeLayer) -> Client {
    let layer = layer.clone().http_with(Http::new().assume_idempotent());
    HealthClient::new(ServiceBuilder::new().layer(layer).service(channel(address).unwrap()))
}

/// Runs a unary call, and lets 50 ms pass once the server has received the request.
async fn check(
    mut client: Client,
    service: &'static str,
    health: &FirstHangs,
) -> JoinHandle<Result<HealthCheckResponse, Status>> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let call = tokio::spawn(async move { client.check(request).await.map(Response::into_inner) });
    until_at_this_time(|| health.calls() == 1).await;
    advance(51 * MS).await;
    call
}

async fn ended<T>(call: JoinHandle<T>) -> T {
    until_at_this_time(|| call.is_finished()).await;
    call.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn unary_call_of_a_cloned_stub_is_hedged() {
    let (address, health) = serve();
    let layer = hedge();
    let stub = client(address, &layer);
    let call = check(stub.clone(), "", &health).await;
    assert_eq!(ended(call).await.unwrap().status(), Serving);
    assert_eq!((health.calls(), layer.handle().won()), (2, 1));
    assert_eq!(health.metadata(0, "grpc-previous-rpc-attempts"), None);
    assert_eq!(health.metadata(1, "grpc-previous-rpc-attempts").as_deref(), Some("1"));
    // The clone that was not called shares the numbers, and the server answers at once.
    let mut stub = stub;
    let call = tokio::spawn(async move { stub.check(HealthCheckRequest::default()).await });
    assert!(ended(call).await.is_ok());
    assert_eq!((layer.handle().calls(), layer.handle().sent()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn hedge_announces_the_time_left_in_grpc_timeout() {
    let (address, health) = serve();
    let mut stub = client(address, &hedge());
    let mut request = Request::new(HealthCheckRequest::default());
    request.set_timeout(1000 * MS);
    let call = tokio::spawn(async move { stub.check(request).await });
    until_at_this_time(|| health.calls() == 1).await;
    advance(51 * MS).await;
    assert!(ended(call).await.is_ok());
    let announced = [0, 1].map(|call| {
        let value = health.metadata(call, "grpc-timeout").unwrap();
        buttress::http_grpc::parse_grpc_timeout(value.as_bytes()).unwrap()
    });
    let [first, second] = announced;
    assert_eq!(first, 1000 * MS);
    assert!(second > 900 * MS && second < 950 * MS, "{second:?}");
}

/// gRPC says by the response whether to repeat a call. A hedge is sent before there is one.
#[tokio::test(start_paused = true)]
async fn call_that_is_not_marked_is_not_hedged() {
    let (address, health) = serve();
    let layer = hedge();
    let stack = ServiceBuilder::new().layer(layer.clone().http());
    let stub = HealthClient::new(stack.service(channel(address).unwrap()));
    let call = check(stub.clone(), "", &health).await;
    until_at_this_time(|| layer.handle().withheld(WithheldReason::NotIdempotent) == 1).await;
    assert!(!call.is_finished());
    assert_eq!((health.calls(), layer.handle().sent()), (1, 0));
    call.abort();
    // A mark in the extensions of the request, which tonic passes on.
    health.0.lock().unwrap().clear();
    let mut marked = Request::new(HealthCheckRequest::default());
    marked.extensions_mut().insert(Idempotent);
    let mut stub = stub;
    let call = tokio::spawn(async move { stub.check(marked).await });
    until_at_this_time(|| health.calls() == 1).await;
    advance(51 * MS).await;
    assert!(ended(call).await.is_ok());
}

/// A stream of responses is hedged until its head, and read from the try that won.
#[tokio::test(start_paused = true)]
async fn streaming_response_is_hedged_until_its_head() {
    let (address, health) = serve();
    let layer = hedge();
    let mut stub = client(address, &layer);
    let call = tokio::spawn(async move {
        let stream = stub.watch(HealthCheckRequest::default()).await?.into_inner();
        Ok::<_, Status>(stream.collect::<Vec<_>>().await.len())
    });
    until_at_this_time(|| health.calls() == 1).await;
    advance(51 * MS).await;
    assert_eq!(ended(call).await.unwrap(), 3);
    assert_eq!((health.calls(), layer.handle().won()), (2, 1));
}

/// A request stream that goes on cannot be sent again whole.
#[tokio::test(start_paused = true)]
async fn streaming_request_is_not_hedged() {
    let (address, health) = serve();
    let layer = hedge().http_with(Http::new().assume_idempotent());
    let layered = layer.layer(channel(address).unwrap());
    let (mut sender, messages) = http_body_util::channel::Channel::<Bytes, Status>::new(1);
    let request = http::Request::post("http://health/grpc.health.v1.Health/Check")
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(messages))
        .unwrap();
    let call = tokio::spawn(layered.oneshot(request));
    // The first message, and no end.
    sender.send_data(Bytes::from_static(&[0, 0, 0, 0, 0])).await.unwrap();
    until_at_this_time(|| layer.handle().calls() == 1).await;
    advance(51 * MS).await;
    until_at_this_time(|| layer.handle().withheld(WithheldReason::NotReplayable) == 1).await;
    assert!(!call.is_finished());
    assert_eq!((health.calls(), layer.handle().sent()), (0, 0));
}

/// `NOT_FOUND` is the service's own answer. `UNAVAILABLE` is not.
#[tokio::test(start_paused = true)]
async fn status_of_a_hedge_decides_whether_it_wins() {
    let (address, health) = serve();
    let layer = hedge().at_most(2);
    let call = check(client(address, &layer), "not_found", &health).await;
    assert_eq!(ended(call).await.unwrap_err().code(), Code::NotFound);
    assert_eq!((health.calls(), layer.handle().won()), (2, 1));
    let (address, health) = serve();
    let call = check(client(address, &layer), "unavailable", &health).await;
    until_at_this_time(|| health.calls() == 2).await;
    advance(51 * MS).await;
    assert_eq!(ended(call).await.unwrap().status(), Serving);
    assert_eq!(health.calls(), 3);
}

/// PB-07, on the wire.
#[tokio::test(start_paused = true)]
async fn negative_pushback_of_a_server_stops_hedging() {
    let (address, health) = serve();
    let layer = hedge().at_most(4);
    let call = check(client(address, &layer), "-1", &health).await;
    until_at_this_time(|| layer.handle().withheld(WithheldReason::Throttled) == 1).await;
    advance(500 * MS).await;
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(!call.is_finished());
    assert_eq!((health.calls(), layer.handle().sent()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn server_whose_handlers_are_hedged_answers_once() {
    let (address, incoming) = incoming().unwrap();
    let health = FirstHangs::default();
    let layer = hedge();
    let server = Server::builder()
        .layer(layer.clone().http_with(Http::new().assume_idempotent()))
        .add_service(HealthServer::new(health.clone()));
    background(server.serve_with_incoming(incoming));
    let mut stub = HealthClient::new(channel(address).unwrap());
    let call = tokio::spawn(async move { stub.check(HealthCheckRequest::default()).await });
    until_at_this_time(|| health.calls() == 1).await;
    advance(51 * MS).await;
    assert_eq!(ended(call).await.unwrap().into_inner().status(), Serving);
    assert_eq!((health.calls(), layer.handle().won()), (2, 1));
}
