//! A stub of tonic that waits for a server to come up: what was never sent may always be repeated.

use std::{net::TcpListener, time::Duration};

use buttress::{Backoff, BoxError, DeadlineLayer, HttpExt, RetryLayer};
use tonic::transport::{Endpoint, Server};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // A port that is free for now.
    let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let channel = Endpoint::try_from(format!("http://{address}"))?.connect_lazy();

    let retry = RetryLayer::new(20).backoff(Backoff::constant(Duration::from_millis(50))).http();
    let counts = retry.handle();
    let mut client = HealthClient::new(
        ServiceBuilder::new()
            .layer(DeadlineLayer::new(Duration::from_secs(5)).http())
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
            assert!(counts.retries() > 0);
            println!("{status:?}, after {} retries", counts.retries());
        }
    }
    Ok(())
}
