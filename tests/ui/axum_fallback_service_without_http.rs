//! A fallback on a router, whose request cannot be cloned.

use axum::{Router, routing::get};
use buttress::FallbackLayer;

fn main() {
    let app = Router::new().route("/", get(|| async { "hello" }));
    let _: Router = app.layer(FallbackLayer::service(Router::new()));
}
