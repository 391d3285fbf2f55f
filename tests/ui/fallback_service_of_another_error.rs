//! An alternative service with another error type.

use buttress::{BoxError, Check, FallbackLayer};
use tower::{ServiceBuilder, service_fn};

fn main() {
    let double = service_fn(|x: u32| async move { Ok::<_, BoxError>(2 * x) });
    let other = service_fn(|x: u32| async move { Ok::<_, std::io::Error>(x) });
    ServiceBuilder::new().layer(FallbackLayer::service(other)).service(double).check::<u32>();
}
