//! A fleet, given to a rate that has keys already.

use buttress::{Rate, ThrottleLayer, throttle::Fleet};
use buttress_testkit::FakeStore;

fn main() {
    let fleet = Fleet::new(FakeStore::new(), 3);
    let _ = ThrottleLayer::rate(Rate::per_second(9)).keyed(key).fleet(fleet);
}

fn key(request: &u32) -> Option<u32> {
    Some(*request)
}
