//! A closure where the type of the key must not depend on the request.

use buttress::BreakerLayer;

fn main() {
    let _ = BreakerLayer::new().per(|n: &u32| Some(*n));
}
