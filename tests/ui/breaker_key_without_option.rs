//! A key that is no `Option`.

use buttress::BreakerLayer;

fn main() {
    let _ = BreakerLayer::new().keyed(|n: &u32| *n);
}
