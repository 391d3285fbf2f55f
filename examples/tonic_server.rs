//! `DeadlineLayer` around a tonic server: a stream that exceeds its deadline ends with `DEADLINE_EXCEEDED`.
//!
//! Prints the first message of a stream, and the status that ends the stream.

use std::time::Duration;

use buttress::{BoxError, DeadlineLayer, HttpExt};
use tonic::{
    Code,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into())?;
    let address = incoming.local_addr()?;
    // A stream of health statuses ends when its reporter is dropped, so the reporter stays alive.
    let (_reporter, health) = tonic_health::server::health_reporter();

    let server = Server::builder()
        // At most 300 ms for the whole response, including the stream. The name appears in the status message.
        .layer(DeadlineLayer::new(Duration::from_millis(300)).named("api").http())
        .add_service(health)
        .serve_with_incoming(incoming);

    let request = async {
        let channel = Endpoint::try_from(format!("http://{address}"))?.connect().await?;
        let health_request = HealthCheckRequest::default();
        let mut statuses = HealthClient::new(channel).watch(health_request).await?.into_inner();
        let first = statuses.message().await?.ok_or("no first status")?;
        println!("status: {:?}", first.status());
        let end = statuses.message().await.err().ok_or("no end of the stream")?;
        assert_eq!(end.code(), Code::DeadlineExceeded);
        println!("end of the stream: {:?}, {}", end.code(), end.message());
        Ok::<_, BoxError>(())
    };
    tokio::select! {
        ended = server => ended?,
        done = request => done?,
    }
    Ok(())
}
