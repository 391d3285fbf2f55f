//! What a meter sees of gRPC calls: the status in the trailers, on a client and a server of tonic.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::pin::Pin;

use buttress::{HttpExt, MeterLayer, observability::CallEnd};
use loopback::{background, channel, incoming, until};
use tokio_stream::{Stream, StreamExt, iter};
use tonic::{Code, Request, Response, Status, async_trait, transport::Server};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower::ServiceBuilder;

/// Ends with the code in the name of the service: in the head if unary, in the trailers of a stream.
struct Ending;

fn end(request: &Request<HealthCheckRequest>) -> Option<Status> {
    let code: i32 = request.get_ref().service.parse().unwrap();
    (code != 0).then(|| Status::new(Code::from_i32(code), "as asked"))
}

#[async_trait]
impl Health for Ending {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        end(&request).map_or_else(|| Ok(Response::new(HealthCheckResponse::default())), Err)
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let messages = iter([Ok(HealthCheckResponse::default())]);
        Ok(Response::new(Box::pin(messages.chain(iter(end(&request).map(Err))))))
    }
}

fn ask(code: Code) -> HealthCheckRequest {
    HealthCheckRequest { service: i32::from(code).to_string() }
}

#[tokio::test]
async fn status_of_a_call_and_of_a_stream_is_the_verdict_on_both_sides() {
    let (address, incoming) = incoming().unwrap();
    let server = MeterLayer::call(()).named("server").http();
    let client = MeterLayer::call(()).named("client").http();
    let handles = [server.handle(), client.handle()];
    let serving = Server::builder().layer(server).add_service(HealthServer::new(Ending));
    background(serving.serve_with_incoming(incoming));
    let channel = ServiceBuilder::new().layer(client).service(channel(address).unwrap());
    let mut health = HealthClient::new(channel);
    let cases = [
        (Code::Ok, CallEnd::Success),
        (Code::Unavailable, CallEnd::Transient),
        (Code::NotFound, CallEnd::Permanent),
        (Code::DeadlineExceeded, CallEnd::Expired),
    ];
    for (code, _) in cases {
        assert_eq!(
            health.check(ask(code)).await.map_or_else(|status| status.code(), |_| Code::Ok),
            code
        );
        let mut messages = health.watch(ask(code)).await.unwrap().into_inner();
        assert!(messages.next().await.unwrap().is_ok());
        let last = messages.next().await;
        assert_eq!(last.map_or(Code::Ok, |last| last.unwrap_err().code()), code);
    }
    // A stream whose caller leaves after the head.
    drop(health.watch(ask(Code::Ok)).await.unwrap());
    for handle in handles {
        until(|| handle.in_flight() == 0).await;
        assert_eq!(handle.begun(), 9);
        for (code, end) in cases {
            // The server may have sent the whole stream before the caller was gone.
            let ended = handle.ended(end);
            assert!(ended == 2 || (code == Code::Ok && ended == 3), "{code:?}: {handle:?}");
        }
    }
}
