//! A layer below a stub of tonic, over a channel.

use std::time::Duration;

use buttress::{Check, DeadlineLayer};
use tonic::{body::Body, transport::Channel};
use tower::ServiceBuilder;

fn stub(channel: Channel) {
    ServiceBuilder::new()
        .layer(DeadlineLayer::new(Duration::from_secs(1)))
        .service(channel)
        .check::<http::Request<Body>>();
}

fn main() {}
