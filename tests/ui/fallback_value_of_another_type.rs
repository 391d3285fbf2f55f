//! A value that is no response of the service.

use buttress::{BoxError, Check, FallbackLayer};
use tower::{ServiceBuilder, service_fn};

fn main() {
    let double = service_fn(|x: u32| async move { Ok::<_, BoxError>(2 * x) });
    ServiceBuilder::new().layer(FallbackLayer::value("none")).service(double).check::<u32>();
}
