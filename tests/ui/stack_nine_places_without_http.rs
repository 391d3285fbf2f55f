//! A stack of nine layers over a hyper client, and `.http()` forgotten.

use std::time::Duration;

use buttress::{
    Authority, BreakerLayer, Check, DedupLayer, FallbackLayer, HedgeLayer, OrderLayer, client,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

fn main() {
    let hyper: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    client()
        .fallback(FallbackLayer::value(http::Response::new(Full::<Bytes>::from("sorry"))))
        .dedup(DedupLayer::new())
        .order(OrderLayer::serial_per(Authority))
        .hedge(HedgeLayer::after(Duration::from_millis(50)))
        .breaker(BreakerLayer::new().per(Authority))
        .service(hyper)
        .check::<http::Request<Full<Bytes>>>();
}
