//! `.http()` for a service that knows no HTTP.

use std::time::Duration;

use buttress::{BoxError, Check, DeadlineLayer, HttpExt};
use tower::{ServiceBuilder, service_fn};

fn main() {
    let double = service_fn(|x: u32| async move { Ok::<_, BoxError>(2 * x) });
    ServiceBuilder::new()
        .layer(DeadlineLayer::new(Duration::from_secs(1)).http())
        .service(double)
        .check::<u32>();
}
