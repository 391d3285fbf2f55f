//! One call for many on a router, and `.http()` forgotten.

use axum::{Router, routing::get};
use buttress::DedupLayer;

fn main() {
    let app = Router::new().route("/", get(|| async { "hello" }));
    let _: Router = app.layer(DedupLayer::new());
}
