//! A limit on a router, and `.http()` forgotten.

use axum::{Router, routing::get};
use buttress::ThrottleLayer;

fn main() {
    let app = Router::new().route("/", get(|| async { "hello" }));
    let _: Router = app.layer(ThrottleLayer::concurrency(64));
}
