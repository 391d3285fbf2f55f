//! A retry on a connector of reqwest, whose request cannot be cloned or named.

use buttress::RetryLayer;

fn main() {
    let _ = reqwest::Client::builder().connector_layer(RetryLayer::new(3));
}
