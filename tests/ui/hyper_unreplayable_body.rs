//! A proxy that repeats what it was asked: an incoming body can be read only once.

use buttress::{Check, HttpExt, RetryLayer};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tower::ServiceBuilder;

fn proxy(client: Client<HttpConnector, Incoming>) {
    ServiceBuilder::new()
        .layer(RetryLayer::new(3).http())
        .service(client)
        .check::<http::Request<Incoming>>();
}

fn main() {}
