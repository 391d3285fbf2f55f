//! A retry on a router, whose request cannot be cloned.

use axum::{Router, routing::get};
use buttress::RetryLayer;

fn main() {
    let app = Router::new().route("/", get(|| async { "hello" }));
    let _: Router = app.layer(RetryLayer::new(3));
}
