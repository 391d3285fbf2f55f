//! A body whose chunks are not `Bytes`.

use std::{collections::VecDeque, convert::Infallible};

use buttress::{Check, DedupLayer, HttpExt};
use http::{Request, Response};
use http_body_util::Full;
use tower::{ServiceBuilder, service_fn};

fn main() {
    let load = service_fn(|_: Request<String>| async {
        Ok::<_, Infallible>(Response::new(Full::new(VecDeque::<u8>::new())))
    });
    ServiceBuilder::new()
        .layer(DedupLayer::new().http())
        .service(load)
        .check::<Request<String>>();
}
