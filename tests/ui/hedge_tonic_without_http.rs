//! A hedge on a client of tonic, whose request cannot be cloned.

use buttress::hedge::HedgeLayer;
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::ServiceBuilder;

async fn check(channel: Channel) {
    let stack = ServiceBuilder::new().layer(HedgeLayer::learned()).service(channel);
    let _ = HealthClient::new(stack).check(HealthCheckRequest::default()).await;
}

fn main() {}
