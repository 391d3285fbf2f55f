//! A client stack over a hyper client, and `.http()` forgotten.

use buttress::{Check, client};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

fn main() {
    let hyper: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    client().service(hyper).check::<http::Request<Full<Bytes>>>();
}
