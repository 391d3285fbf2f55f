//! A fleet, given to a limit of another kind.

use buttress::{ThrottleLayer, throttle::Fleet};
use buttress_testkit::FakeStore;

fn main() {
    let fleet = Fleet::new(FakeStore::new(), 3);
    let _ = ThrottleLayer::concurrency(9).fleet(fleet);
}
