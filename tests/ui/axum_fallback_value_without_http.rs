//! A fixed response on a router, whose body is not that of axum.

use axum::{Router, response::Response, routing::get};
use buttress::FallbackLayer;

fn main() {
    let app = Router::new().route("/", get(|| async { "hello" }));
    let _: Router = app.layer(FallbackLayer::value(Response::new("sorry")));
}
