//! With latest-wins at most one call waits, so there is no queue to set.

use buttress::OrderLayer;

fn main() {
    let _ = OrderLayer::latest(|session: &u32| Some(*session)).queue(8);
}
