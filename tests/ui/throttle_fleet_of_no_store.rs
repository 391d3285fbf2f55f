//! A client of Redis, where its quotas belong.

use buttress::{Rate, Redis, ThrottleLayer, throttle::Fleet};

fn main() {
    let Ok(redis) = Redis::open("redis://localhost", "shop") else { return };
    let _ = ThrottleLayer::rate(Rate::per_second(9)).fleet(Fleet::new(redis, 3));
}
