//! A closure that judges the outcomes of some other service.

use buttress::{BoxError, BreakerLayer, Check, Verdict};
use tower::{ServiceBuilder, service_fn};

fn main() {
    let double = service_fn(|x: u32| async move { Ok::<_, BoxError>(2 * x) });
    ServiceBuilder::new()
        .layer(BreakerLayer::new().classify(|_: Result<&String, &BoxError>| Verdict::Success))
        .service(double)
        .check::<u32>();
}
