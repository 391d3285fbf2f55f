//! A key that is not an `Option`.

use buttress::DedupLayer;

fn main() {
    let _ = DedupLayer::keyed(|id: &u32| *id);
}
