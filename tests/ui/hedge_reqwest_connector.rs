//! A hedge on a connector of reqwest, whose request cannot be cloned or named.

use buttress::hedge::HedgeLayer;

fn main() {
    let _ = reqwest::Client::builder().connector_layer(HedgeLayer::learned());
}
