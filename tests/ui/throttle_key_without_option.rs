//! A key that is not an `Option`.

use buttress::ThrottleLayer;

fn main() {
    let _ = ThrottleLayer::concurrency(1).keyed(|tenant: &u32| *tenant);
}
