//! A circuit breaker on a router, and `.http()` forgotten.

use axum::{Router, routing::get};
use buttress::BreakerLayer;

fn main() {
    let app = Router::new().route("/", get(|| async { "hello" }));
    let _: Router = app.layer(BreakerLayer::new());
}
