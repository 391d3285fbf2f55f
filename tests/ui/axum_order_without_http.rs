//! Keyed order on a router, and `.http()` forgotten.

use axum::{Router, body::Body, http::Request, routing::get};
use buttress::OrderLayer;

fn main() {
    let app = Router::new().route("/", get(|| async { "hello" }));
    let layer = OrderLayer::serial(|request: &Request<Body>| Some(request.uri().path().to_owned()));
    let _: Router = app.layer(layer);
}
