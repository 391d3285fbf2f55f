//! A hedge on a router, whose request cannot be cloned.

use axum::{Router, routing::get};
use buttress::hedge::HedgeLayer;

fn main() {
    let app = Router::new().route("/", get(|| async { "hello" }));
    let _: Router = app.layer(HedgeLayer::learned());
}
