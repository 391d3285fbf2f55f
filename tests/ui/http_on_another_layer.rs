//! `.http()` on what is no layer of buttress.

use std::time::Duration;

use buttress::HttpExt;
use tower::timeout::TimeoutLayer;

fn main() {
    let _ = TimeoutLayer::new(Duration::from_secs(1)).http();
}
