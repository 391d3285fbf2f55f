//! A maximum of keys where there are none.

use buttress::BreakerLayer;

fn main() {
    let _ = BreakerLayer::new().max_keys(100);
}
