//! The verdict that a guard is told at the end of a body, and a superseded stream, over connections
//! of hyper and tonic.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use buttress::{
    DedupLayer, HttpExt, Reason, Rejection, Verdict,
    http_grpc::{ControlBody, Protocol},
    layer_api::{BoxError, Guard, Origin},
};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use loopback::{
    AnyClient, Checkup, Streams, background, channel, get_of, http1, http2, incoming, serve,
    streams, until,
};
use tokio_stream::{Stream, StreamExt, iter};
use tonic::{Code, Status, async_trait, transport::Server};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

/// A layer whose guard writes down the verdict on each body, and stops bodies once it is told to.
#[derive(Clone, Debug, Default)]
struct Watching {
    told: Arc<Mutex<Vec<Verdict>>>,
    dropped: Arc<AtomicBool>,
    superseded: Arc<AtomicBool>,
}

impl Watching {
    fn told(&self) -> Vec<Verdict> {
        self.told.lock().unwrap().clone()
    }

    fn poll(&self) -> Poll<Rejection> {
        if self.superseded.load(SeqCst) {
            Poll::Ready(Rejection::new(Reason::Superseded, Origin::new("order")))
        } else {
            Poll::Pending
        }
    }
}

struct Watch(Watching);

impl Guard for Watch {
    fn poll_stop(&mut self, _: &mut Context<'_>) -> Poll<Rejection> {
        self.0.poll()
    }

    fn poll_cut(&mut self, _: &mut Context<'_>) -> Poll<Rejection> {
        self.0.poll()
    }

    fn end(&mut self, verdict: Verdict) {
        self.0.told.lock().unwrap().push(verdict);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.dropped.store(true, SeqCst);
    }
}

impl<S> Layer<S> for Watching {
    type Service = Watched<S>;

    fn layer(&self, inner: S) -> Watched<S> {
        Watched { inner, watching: self.clone() }
    }
}

#[derive(Clone, Debug)]
struct Watched<S> {
    inner: S,
    watching: Watching,
}

impl<S, A, B> Service<Request<A>> for Watched<S>
where
    S: Service<Request<A>, Response = Response<B>, Future: Send + 'static>,
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Response = Response<ControlBody<B, Watch>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let protocol = Protocol::of(request.headers());
        let (call, guard) = (self.inner.call(request), Watch(self.watching.clone()));
        Box::pin(async move {
            Ok(call.await?.map(|body| ControlBody::new(protocol, body, Some(guard))))
        })
    }
}

/// A server with bodies of each kind. The body of `/open` is written by the test.
fn app(streams: Streams) -> Router {
    let open = |State(streams): State<Streams>| async move { streams.respond() };
    Router::new()
        .route("/known", get(|| async { "a body of known length" }))
        .route("/empty", get(|| async { "" }))
        .route("/nothing", get(|| async { StatusCode::NO_CONTENT }))
        .route("/failed", get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "down") }))
        .route("/open", get(open))
        .with_state(streams)
}

fn clients() -> [AnyClient; 2] {
    [http1(), http2()]
}

#[tokio::test]
async fn client_guard_is_told_of_a_success_once_for_each_body_that_ends() {
    for client in clients() {
        let (streams, mut writers) = streams();
        let address = serve(app(streams)).await.unwrap();
        for path in ["known", "empty", "nothing", "failed", "open"] {
            let watching = Watching::default();
            let service = watching.layer(client.clone());
            let response = service.oneshot(get_of(address, path)).await.unwrap();
            if path == "open" {
                assert_eq!(watching.told(), []);
                let writer = writers.next().await;
                writer.write("a ");
                writer.write("stream");
            }
            response.into_body().collect().await.unwrap();
            assert_eq!(watching.told(), [Verdict::Success], "{path}");
            assert!(watching.dropped.load(SeqCst));
        }
    }
}

#[tokio::test]
async fn client_guard_of_an_empty_body_is_told_with_the_head() {
    for client in clients() {
        let address = serve(app(streams().0)).await.unwrap();
        for path in ["empty", "nothing"] {
            let watching = Watching::default();
            let service = watching.layer(client.clone());
            let response = service.oneshot(get_of(address, path)).await.unwrap();
            assert_eq!(watching.told(), [Verdict::Success], "{path}");
            drop(response);
            assert_eq!(watching.told(), [Verdict::Success], "{path}");
        }
    }
}

#[tokio::test]
async fn client_guard_is_told_of_a_transient_failure_if_the_stream_breaks() {
    for client in clients() {
        let (streams, mut writers) = streams();
        let address = serve(app(streams)).await.unwrap();
        let watching = Watching::default();
        let service = watching.layer(client);
        let response = service.oneshot(get_of(address, "open")).await.unwrap();
        let writer = writers.next().await;
        writer.write("half");
        writer.fail();
        response.into_body().collect().await.unwrap_err();
        assert_eq!(watching.told(), [Verdict::Transient]);
    }
}

#[tokio::test]
async fn server_guard_is_told_how_each_body_ended_and_nothing_if_the_client_leaves() {
    for client in clients() {
        let (streams, mut writers) = streams();
        let watching = Watching::default();
        let app = app(streams).layer(watching.clone());
        let address = serve(app).await.unwrap();
        let mut expected = Vec::new();
        for path in ["known", "empty", "nothing"] {
            let response = client.request(get_of(address, path)).await.unwrap();
            response.into_body().collect().await.unwrap();
            expected.push(Verdict::Success);
            until(|| watching.told().len() == expected.len()).await;
            assert_eq!(watching.told(), expected, "{path}");
        }
        let response = client.request(get_of(address, "open")).await.unwrap();
        writers.next().await.fail();
        response.into_body().collect().await.unwrap_err();
        expected.push(Verdict::Transient);
        until(|| watching.told().len() == expected.len()).await;
        assert_eq!(watching.told(), expected);

        watching.dropped.store(false, SeqCst);
        let response = client.request(get_of(address, "open")).await.unwrap();
        let writer = writers.next().await;
        drop(response);
        until(|| {
            // A server notices only when it writes.
            writer.write("anyone there?");
            watching.dropped.load(SeqCst)
        })
        .await;
        assert_eq!(watching.told(), expected, "a dropped body has no end");
    }
}

/// OR-04: late bytes of a superseded call are not delivered.
#[tokio::test]
async fn superseded_stream_of_a_server_ends_with_an_error_and_no_late_byte() {
    for client in clients() {
        let (streams, mut writers) = streams();
        let watching = Watching::default();
        let address = serve(app(streams).layer(watching.clone())).await.unwrap();
        let response = client.request(get_of(address, "open")).await.unwrap();
        let writer = writers.next().await;
        writer.write("early");
        let mut body = response.into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "early");
        watching.superseded.store(true, SeqCst);
        writer.write("late");
        writer.write("later");
        drop(writer);
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(watching.told(), [], "the guard has stopped the body itself");
    }
}

/// A guard below dedup is one, however many callers read the body.
#[tokio::test]
async fn guard_behind_a_shared_body_is_told_its_end_once() {
    for client in clients() {
        let (streams, mut writers) = streams();
        let address = serve(app(streams)).await.unwrap();
        for fails in [false, true] {
            let watching = Watching::default();
            let layer = DedupLayer::new().http();
            let service = ServiceBuilder::new()
                .layer(layer.clone())
                .layer(watching.clone())
                .service(client.clone().map_err(std::sync::Arc::new));
            let calls = [(); 3].map(|()| service.clone().oneshot(get_of(address, "open")));
            let mut calls = calls.map(Box::pin);
            let heads = futures(&mut calls);
            let (heads, writer) = tokio::join!(heads, writers.next());
            assert_eq!(layer.handle().followers(), 2);
            writer.write("a ");
            writer.write("stream");
            if fails {
                writer.fail();
            } else {
                drop(writer);
            }
            let verdict = if fails { Verdict::Transient } else { Verdict::Success };
            for response in heads {
                assert_eq!(response.into_body().collect().await.is_err(), fails);
                assert_eq!(watching.told(), [verdict]);
            }
        }
    }
}

/// The outcomes of three calls that run at the same time.
async fn futures<F, T, E>(calls: &mut [F; 3]) -> Vec<T>
where
    F: Future<Output = Result<T, E>> + Unpin,
    E: std::fmt::Debug,
{
    let [a, b, c] = calls;
    let (a, b, c) = tokio::join!(a, b, c);
    vec![a.unwrap(), b.unwrap(), c.unwrap()]
}

/// A health service whose stream ends with the status that the request names, after one message.
#[derive(Clone, Debug, Default)]
struct Ending;

#[async_trait]
impl Health for Ending {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        match status(&request.get_ref().service) {
            Some(status) => Err(status),
            None => Ok(tonic::Response::new(HealthCheckResponse::default())),
        }
    }

    async fn watch(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        let end = status(&request.get_ref().service).map(Err);
        let messages = iter([Ok(HealthCheckResponse::default())]).chain(iter(end));
        Ok(tonic::Response::new(Box::pin(messages)))
    }
}

fn status(service: &str) -> Option<Status> {
    match service {
        "unavailable" => Some(Status::unavailable("as told")),
        "expired" => Some(Status::deadline_exceeded("as told")),
        "missing" => Some(Status::not_found("as told")),
        _ => None,
    }
}

fn ask(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn guards_around_a_tonic_stream_are_told_the_verdict_of_its_trailers() {
    let (of_server, of_client) = (Watching::default(), Watching::default());
    let (address, incoming) = incoming().unwrap();
    let mut server = Server::builder().layer(of_server.clone());
    let server = server.add_service(HealthServer::new(Ending));
    background(server.serve_with_incoming(incoming));
    let mut client = HealthClient::new(of_client.layer(channel(address).unwrap()));
    let mut expected = Vec::new();
    for (service, verdict) in [
        ("", Verdict::Success),
        ("unavailable", Verdict::Transient),
        ("expired", Verdict::Expired),
        ("missing", Verdict::Permanent),
    ] {
        let mut stream = client.watch(ask(service)).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap();
        assert_eq!(stream.message().await.is_err(), !service.is_empty());
        expected.push(verdict);
        assert_eq!(of_client.told(), expected, "{service}");
        until(|| of_server.told().len() == expected.len()).await;
        assert_eq!(of_server.told(), expected, "{service}");
    }
}

#[tokio::test]
async fn guards_around_a_unary_tonic_call_are_told_once() {
    let (of_server, of_client) = (Watching::default(), Watching::default());
    let (address, incoming) = incoming().unwrap();
    let mut server = Server::builder().layer(of_server.clone());
    let server = server.add_service(HealthServer::new(Ending));
    background(server.serve_with_incoming(incoming));
    let mut client = HealthClient::new(of_client.layer(channel(address).unwrap()));
    client.check(ask("")).await.unwrap();
    assert_eq!(of_client.told(), [Verdict::Success]);
    // The status is in the head, which is for the layer to judge. The body has ended with it.
    client.check(ask("unavailable")).await.unwrap_err();
    assert_eq!(of_client.told(), [Verdict::Success; 2]);
    until(|| of_server.told().len() == 2).await;
    assert_eq!(of_server.told(), [Verdict::Success; 2]);
}

/// OR-04: late messages of a superseded call are not delivered.
#[tokio::test]
async fn superseded_tonic_stream_ends_with_status_14_and_no_late_message() {
    let watching = Watching::default();
    let (address, incoming) = incoming().unwrap();
    let mut server = Server::builder();
    let server = server.add_service(HealthServer::new(Checkup::default()));
    background(server.serve_with_incoming(incoming));
    let mut client = HealthClient::new(watching.layer(channel(address).unwrap()));
    for service in ["", "stuck"] {
        watching.superseded.store(false, SeqCst);
        let mut stream = client.watch(ask(service)).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap();
        watching.superseded.store(true, SeqCst);
        // Messages that tonic has taken from the body already are out of reach.
        let error = loop {
            match stream.message().await {
                Ok(message) => assert!(message.is_some(), "a superseded stream must not succeed"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.code(), Code::Unavailable);
        assert_eq!(error.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1");
        assert_eq!(watching.told(), [], "the guard has stopped the body itself");
    }
}
