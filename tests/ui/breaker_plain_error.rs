//! An error of the user's own, without a conversion from a rejection.

use buttress::{BreakerLayer, Check};
use tower::{ServiceBuilder, service_fn};

#[derive(Debug)]
struct Failure;

fn main() {
    let double = service_fn(|x: u32| async move { Ok::<_, Failure>(2 * x) });
    ServiceBuilder::new().layer(BreakerLayer::new()).service(double).check::<u32>();
}
