//! A weight for the requests of some other server.

use axum::{Router, routing::get};
use buttress::{HttpExt, Rate, ThrottleLayer};

fn main() {
    let app = Router::new().route("/", get(|| async { "hello" }));
    let weigh = |request: &http::Request<String>| u32::try_from(request.body().len()).unwrap_or(1);
    let _: Router = app.layer(ThrottleLayer::rate(Rate::per_second(9)).cost(weigh).http());
}
