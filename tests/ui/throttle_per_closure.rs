//! A closure, where a key with a fixed type belongs.

use buttress::ThrottleLayer;

fn main() {
    let _ = ThrottleLayer::concurrency(1).per(|name: &String| Some(name.clone()));
}
