//! `DeadlineLayer` and `RetryLayer` around a tonic channel: the client retries until the server has started.
//!
//! A request that was never sent is safe to retry, even if it is not idempotent. Prints the serving status and
//! the number of retries.

use std::{net::TcpListener, time::Duration};

use buttress::{Backoff, BoxError, DeadlineLayer, HttpExt, RetryLayer};
use tonic::transport::{Endpoint, Server};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // The listener is dropped at once, so connections to this port are refused until the server starts.
    let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let channel = Endpoint::try_from(format!("http://{address}"))?.connect_lazy();

    let retry = RetryLayer::new(20).backoff(Backoff::constant(Duration::from_millis(50))).http();
    let handle = retry.handle();
    let mut client = HealthClient::new(
        ServiceBuilder::new()
            // The time of the whole call. It is sent to the server as `grpc-timeout`.
            .layer(DeadlineLayer::new(Duration::from_secs(5)).http())
            // At most 20 attempts, 50 ms apart.
            .layer(retry)
            .service(channel),
    );

    let late_server = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (_reporter, health) = tonic_health::server::health_reporter();
        Server::builder().add_service(health).serve(address).await
    };
    tokio::select! {
        served = late_server => served?,
        answer = client.check(HealthCheckRequest::default()) => {
            let status = answer?.into_inner().status();
            assert_eq!(status, ServingStatus::Serving);
            assert!(handle.retries() > 0);
            println!("{status:?} after {} retries", handle.retries());
        }
    }
    Ok(())
}
