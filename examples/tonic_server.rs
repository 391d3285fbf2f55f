//! A server of tonic that answers in time: with `DEADLINE_EXCEEDED`, also in the middle of a stream.

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
    // Kept: a stream of statuses has no end as long as somebody could report another.
    let (_reporter, health) = tonic_health::server::health_reporter();

    let server = Server::builder()
        .layer(DeadlineLayer::new(Duration::from_millis(300)).named("api").http())
        .add_service(health)
        .serve_with_incoming(incoming);

    let visit = async {
        let channel = Endpoint::try_from(format!("http://{address}"))?.connect().await?;
        let request = HealthCheckRequest::default();
        let mut statuses = HealthClient::new(channel).watch(request).await?.into_inner();
        let first = statuses.message().await?.ok_or("a status comes at once")?;
        println!("status: {:?}", first.status());
        let end = statuses.message().await.err().ok_or("nothing else was reported")?;
        assert_eq!(end.code(), Code::DeadlineExceeded);
        println!("then: {:?}, {}", end.code(), end.message());
        Ok::<_, BoxError>(())
    };
    tokio::select! {
        ended = server => ended?,
        visited = visit => visited?,
    }
    Ok(())
}
