//! Calls that overlap have no order: `overlapping` belongs to latest-wins.

use buttress::OrderLayer;

fn main() {
    let _ = OrderLayer::serial(|account: &u32| Some(*account)).overlapping();
}
