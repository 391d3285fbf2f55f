//! A layer of another crate, not wrapped in `Custom`.

use buttress::client;
use tower::util::MapRequestLayer;

fn main() {
    let _ = client().throttle(MapRequestLayer::new(|row: u32| row));
}
