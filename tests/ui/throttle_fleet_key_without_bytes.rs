//! A key that other processes cannot know, for a rate that they keep together.

use buttress::{BoxError, Check, Rate, ThrottleLayer, throttle::Fleet};
use buttress_testkit::FakeStore;
use tower::{ServiceBuilder, service_fn};

#[derive(Clone, PartialEq, Eq, Hash)]
struct Tenant(u32);

fn main() {
    let double = service_fn(|x: u32| async move { Ok::<_, BoxError>(2 * x) });
    let fleet = Fleet::new(FakeStore::new(), 3);
    ServiceBuilder::new()
        .layer(ThrottleLayer::rate(Rate::per_second(9)).fleet(fleet).keyed(|x: &u32| Some(Tenant(*x))))
        .service(double)
        .check::<u32>();
}
