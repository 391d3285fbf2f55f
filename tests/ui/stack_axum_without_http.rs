//! A server stack on an axum router, and `.http()` forgotten.

use axum::{Router, routing::get};
use buttress::server;

fn main() {
    let _: Router = Router::new().route("/", get(|| async { "hello" })).layer(server());
}
