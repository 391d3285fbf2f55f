//! An error of the user's own, without a conversion from a rejection.

use std::time::Duration;

use buttress::{Check, DeadlineLayer};
use tower::{ServiceBuilder, service_fn};

#[derive(Debug)]
struct Failure;

fn main() {
    let double = service_fn(|x: u32| async move { Ok::<_, Failure>(2 * x) });
    ServiceBuilder::new()
        .layer(DeadlineLayer::new(Duration::from_secs(1)))
        .service(double)
        .check::<u32>();
}
