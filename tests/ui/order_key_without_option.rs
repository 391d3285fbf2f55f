//! A key of an order that is not an `Option`.

use buttress::OrderLayer;

fn main() {
    let _ = OrderLayer::latest(|session: &u32| *session);
}
