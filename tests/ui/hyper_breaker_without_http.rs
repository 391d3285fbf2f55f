//! A circuit breaker over a hyper client, and `.http()` forgotten.

use buttress::{BreakerLayer, Check};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::ServiceBuilder;

fn main() {
    let client: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    ServiceBuilder::new()
        .layer(BreakerLayer::new())
        .service(client)
        .check::<http::Request<Full<Bytes>>>();
}
