//! A retry over reqwest, whose request cannot be cloned.

use buttress::{Check, RetryLayer};
use tower::ServiceBuilder;

fn main() {
    ServiceBuilder::new()
        .layer(RetryLayer::new(3))
        .service(reqwest::Client::new())
        .check::<reqwest::Request>();
}
