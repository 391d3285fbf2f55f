//! A layer on a router, and `.http()` forgotten.

use std::time::Duration;

use axum::{Router, routing::get};
use buttress::DeadlineLayer;

fn main() {
    let app = Router::new().route("/", get(|| async { "hello" }));
    let _: Router = app.layer(DeadlineLayer::new(Duration::from_secs(1)));
}
