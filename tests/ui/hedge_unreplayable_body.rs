//! A proxy that hedges what it was asked: an incoming body can be read only once.

use buttress::{Check, HttpExt, hedge::HedgeLayer};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tower::ServiceBuilder;

fn proxy(client: Client<HttpConnector, Incoming>) {
    ServiceBuilder::new()
        .layer(HedgeLayer::learned().http())
        .service(client)
        .check::<http::Request<Incoming>>();
}

fn main() {}
