//! A key for the requests of some other service.

use buttress::{BoxError, BreakerLayer, Check};
use tower::{ServiceBuilder, service_fn};

fn main() {
    let double = service_fn(|x: u32| async move { Ok::<_, BoxError>(2 * x) });
    ServiceBuilder::new()
        .layer(BreakerLayer::new().keyed(|name: &String| Some(name.clone())))
        .service(double)
        .check::<u32>();
}
