//! A limit of calls for a value, which makes none.

use buttress::FallbackLayer;

fn main() {
    let _ = FallbackLayer::value(0).at_most(3);
}
