//! A layer on a connection of hyper, whose errors cannot be made by others.

use std::time::Duration;

use buttress::{Check, DeadlineLayer};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tower::ServiceBuilder;

fn client(client: Client<HttpConnector, Full<Bytes>>) {
    ServiceBuilder::new()
        .layer(DeadlineLayer::new(Duration::from_secs(1)))
        .service(client)
        .check::<http::Request<Full<Bytes>>>();
}

fn main() {}
