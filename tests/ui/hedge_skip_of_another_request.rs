//! A closure that chooses among the requests of some other service.

use buttress::{BoxError, Check, hedge::HedgeLayer};
use tower::{ServiceBuilder, service_fn};

fn main() {
    let double = service_fn(|x: u32| async move { Ok::<_, BoxError>(2 * x) });
    ServiceBuilder::new()
        .layer(HedgeLayer::learned().skip(|request: &String| request.is_empty()))
        .service(double)
        .check::<u32>();
}
