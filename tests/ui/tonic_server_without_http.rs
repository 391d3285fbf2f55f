//! A layer on one service of tonic, whose errors are never.

use std::time::Duration;

use buttress::{Check, DeadlineLayer};
use tonic::body::Body;
use tonic_health::{pb::health_server::HealthServer, server::HealthService};
use tower::ServiceBuilder;

fn service(health: HealthServer<HealthService>) {
    ServiceBuilder::new()
        .layer(DeadlineLayer::new(Duration::from_secs(1)))
        .service(health)
        .check::<http::Request<Body>>();
}

fn main() {}
