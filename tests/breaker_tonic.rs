//! A circuit breaker on a server and a client of tonic, for unary calls and streams.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use buttress::{
    Http, HttpExt,
    breaker::{Backoff, BreakerLayer, CircuitState},
};
use loopback::{background, channel, incoming};
use tokio_stream::{Stream, iter};
use tonic::{
    Code, Request, Response, Status, async_trait,
    transport::{Channel, Server},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower::{Layer, ServiceBuilder};

type Breaking = <BreakerLayer<Http> as Layer<Channel>>::Service;

/// Open for longer than a test takes.
fn breaker() -> BreakerLayer<Http> {
    BreakerLayer::new().open_for(Backoff::constant(Duration::from_secs(100))).named("health").http()
}

/// A health service that is down while the switch says so.
#[derive(Clone, Default)]
struct Switched {
    is_down: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
}

impl Switched {
    fn reply(&self, request: &Request<HealthCheckRequest>) -> Result<HealthCheckResponse, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if request.get_ref().service == "unknown" {
            return Err(Status::not_found("unknown"));
        }
        if self.is_down.load(Ordering::Relaxed) {
            return Err(Status::unavailable("down"));
        }
        Ok(HealthCheckResponse { status: ServingStatus::Serving.into() })
    }
}

#[async_trait]
impl Health for Switched {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.reply(&request).map(Response::new)
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let reply = self.reply(&request)?;
        let stream: Self::WatchStream = Box::pin(iter([Ok(reply), Ok(reply)]));
        Ok(Response::new(stream))
    }
}

fn ask(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

fn serve_bare(health: &Switched) -> SocketAddr {
    let (address, incoming) = incoming().unwrap();
    let service = HealthServer::new(health.clone());
    background(Server::builder().add_service(service).serve_with_incoming(incoming));
    address
}

fn stub(layer: &BreakerLayer<Http>, address: SocketAddr) -> HealthClient<Breaking> {
    HealthClient::new(ServiceBuilder::new().layer(layer.clone()).service(channel(address).unwrap()))
}

#[tokio::test]
async fn clones_of_a_stub_share_a_circuit_over_unary_calls_and_streams() {
    let health = Switched::default();
    let address = serve_bare(&health);
    let layer = breaker();
    let client = stub(&layer, address);
    client.clone().check(ask("")).await.unwrap();
    client.clone().watch(ask("")).await.unwrap();
    health.is_down.store(true, Ordering::Relaxed);
    for call in 0..5 {
        let status = match call % 2 {
            0 => client.clone().check(ask("")).await.unwrap_err(),
            _ => client.clone().watch(ask("")).await.unwrap_err(),
        };
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "down"));
    }
    assert_eq!(layer.handle().state(), CircuitState::Open);
    let sent = health.calls.load(Ordering::Relaxed);
    health.is_down.store(false, Ordering::Relaxed);
    let unary = client.clone().check(ask("")).await.unwrap_err();
    let streaming = client.clone().watch(ask("")).await.unwrap_err();
    for status in [unary, streaming] {
        assert_eq!(status.code(), Code::Unavailable);
        let message = status.message();
        assert!(message.starts_with("breaker `health`: circuit open, retry after"), "{message}");
        assert!(status.metadata().get("grpc-retry-pushback-ms").is_some());
    }
    assert_eq!(health.calls.load(Ordering::Relaxed), sent);
    assert_eq!(layer.handle().rejected(), 2);
    layer.handle().close();
    let mut stream = client.clone().watch(ask("")).await.unwrap().into_inner();
    let mut messages = 0;
    while stream.message().await.unwrap().is_some() {
        messages += 1;
    }
    assert_eq!(messages, 2);
}

#[tokio::test]
async fn server_behind_a_breaker_answers_unavailable_in_place_of_its_service() {
    let health = Switched::default();
    health.is_down.store(true, Ordering::Relaxed);
    let layer = breaker();
    let (address, incoming) = incoming().unwrap();
    let service = HealthServer::new(health.clone());
    let server = Server::builder().layer(layer.clone()).add_service(service);
    background(server.serve_with_incoming(incoming));
    let mut client = HealthClient::new(channel(address).unwrap());
    for _ in 0..5 {
        assert_eq!(client.check(ask("")).await.unwrap_err().message(), "down");
    }
    health.is_down.store(false, Ordering::Relaxed);
    for status in
        [client.check(ask("")).await.unwrap_err(), client.watch(ask("")).await.unwrap_err()]
    {
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().starts_with("breaker `health`: circuit open"));
    }
    assert_eq!(health.calls.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn answers_that_are_the_callers_fault_are_successes_over_grpc() {
    let health = Switched::default();
    let layer = breaker();
    let mut client = stub(&layer, serve_bare(&health));
    for _ in 0..50 {
        assert_eq!(client.check(ask("unknown")).await.unwrap_err().code(), Code::NotFound);
    }
    let counts = layer.handle().counts();
    assert_eq!((counts.calls, counts.failures), (50, 0));
}

#[tokio::test]
async fn server_that_is_gone_opens_the_circuit() {
    let (address, listener) = loopback::listen().await.unwrap();
    drop(listener);
    let layer = breaker();
    let mut client = stub(&layer, address);
    for _ in 0..5 {
        assert_eq!(layer.handle().state(), CircuitState::Closed);
        client.check(ask("")).await.unwrap_err();
    }
    assert_eq!(layer.handle().state(), CircuitState::Open);
}
