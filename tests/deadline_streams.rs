//! On sockets: a response that is always ready ends at its deadline, however slowly it is read.
//!
//! Nothing here depends on speed: flow control keeps the whole response from arriving before the
//! reader has let the deadline pass.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{net::SocketAddr, pin::Pin, time::Duration};

use axum::{Router, routing::get};
use buttress::{BoxError, DeadlineHandle, DeadlineLayer, HttpExt, Reason, Rejection};
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, StreamBody};
use loopback::{AnyBody, background, channel, get_of, http1, http2, incoming, serve, until};
use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Request, Status, async_trait, client::GrpcService, transport::Server};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus::Serving,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower::{Layer, ServiceExt};

/// Long enough for the head on a busy machine.
const SHORT: Duration = Duration::from_millis(500);
/// What a stream that ends stays below by far.
const LONG: Duration = Duration::from_secs(60);
const CHUNK: Bytes = Bytes::from_static(&[b'x'; 16 * 1024]);
/// More than fits into the windows and the socket's buffers: 64 MiB.
const CHUNKS: usize = 4096;

/// A response that is ready at once, all of it.
async fn large() -> Response<AnyBody> {
    let frames = (0..CHUNKS).map(|_| Ok(Frame::data(CHUNK)));
    Response::new(StreamBody::new(tokio_stream::iter(frames)).boxed_unsync())
}

/// How much of `body` there is, and how it ends, for a reader that pauses past the deadline after the
/// first frame: flow control holds the rest back until more is read.
async fn read_slowly<B>(mut body: B) -> (usize, Option<B::Error>)
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut read = 0;
    loop {
        match body.frame().await {
            Some(Ok(frame)) => {
                if read == 0 {
                    tokio::time::sleep(SHORT).await;
                }
                read += frame.data_ref().map_or(0, Bytes::len);
            }
            Some(Err(error)) => return (read, Some(error)),
            None => return (read, None),
        }
    }
}

#[tokio::test]
async fn a_server_ends_a_response_that_is_read_slowly_at_its_deadline() {
    for client in [http1(), http2()] {
        let layer = DeadlineLayer::new(SHORT).http();
        let app = Router::new().route("/", get(large)).layer(layer.clone());
        let address = serve(app).await.unwrap();
        let response = client.request(get_of(address, "")).await.unwrap();
        let (read, error) = read_slowly(response.into_body()).await;
        assert!(read < CHUNKS * CHUNK.len(), "{read} of it, then {error:?}");
        assert!(error.is_some(), "a part of it must not pass for the whole");
        assert_eq!(layer.handle().exceeded(), 1);
    }
}

#[tokio::test]
async fn a_client_ends_a_response_that_it_reads_slowly_at_its_deadline() {
    for client in [http1(), http2()] {
        let address = serve(Router::new().route("/", get(large))).await.unwrap();
        let layer = DeadlineLayer::new(SHORT).http();
        let response = layer.layer(client).oneshot(get_of(address, "")).await.unwrap();
        // On a machine that is too busy the head itself comes too late.
        if response.status() == StatusCode::OK {
            let (read, error) = read_slowly(response.into_body()).await;
            assert!(read < CHUNKS * CHUNK.len(), "{read} of it, then {error:?}");
            let rejection = Rejection::find(&error.unwrap()).unwrap().reason();
            assert_eq!(rejection, Reason::DeadlineExceeded);
        }
        assert_eq!(layer.handle().exceeded(), 1);
    }
}

/// A health service whose watches never pause.
struct Eager;

#[async_trait]
impl Health for Eager {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        Err(Status::unimplemented("only watches"))
    }

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        let message = HealthCheckResponse { status: Serving.into() };
        let messages = tokio_stream::iter(std::iter::repeat(message)).map(Ok);
        Ok(tonic::Response::new(Box::pin(messages)))
    }
}

fn eager_server(layer: DeadlineLayer) -> (SocketAddr, DeadlineHandle) {
    let handle = layer.handle();
    let (address, incoming) = incoming().unwrap();
    let mut server = Server::builder().layer(layer.http());
    let server = server.add_service(HealthServer::new(Eager));
    background(server.serve_with_incoming(incoming));
    (address, handle)
}

/// How a watch ends that never pauses.
async fn watch<S>(service: S) -> Status
where
    S: GrpcService<tonic::body::Body, ResponseBody: Body<Data = Bytes> + Send + 'static>,
    <S::ResponseBody as Body>::Error: Into<BoxError> + Send,
{
    let request = HealthCheckRequest { service: String::new() };
    let mut messages = match HealthClient::new(service).watch(request).await {
        Ok(response) => response.into_inner(),
        Err(status) => return status,
    };
    let end = async {
        loop {
            match messages.message().await {
                Ok(message) => assert!(message.is_some(), "it ended as if it were whole"),
                Err(status) => return status,
            }
        }
    };
    timeout(LONG, end).await.unwrap()
}

#[tokio::test]
async fn a_stream_of_messages_that_never_pauses_ends_with_deadline_exceeded_on_the_server() {
    let (address, server) = eager_server(DeadlineLayer::new(SHORT));
    let status = watch(channel(address).unwrap()).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert_eq!(server.exceeded(), 1);
}

#[tokio::test]
async fn a_stream_of_messages_that_never_pauses_ends_with_deadline_exceeded_on_the_client() {
    let (address, server) = eager_server(DeadlineLayer::propagate());
    let layer = DeadlineLayer::new(SHORT).http();
    let status = watch(layer.layer(channel(address).unwrap())).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    // The server was told of the deadline, and has not gone on either.
    until(|| server.in_flight() == 0).await;
}
