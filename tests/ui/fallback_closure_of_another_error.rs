//! An answer that is computed from another error than the service's.

use buttress::{BoxError, Check, FallbackLayer, Verdict};
use tower::{ServiceBuilder, service_fn};

fn main() {
    let double = service_fn(|x: u32| async move { Ok::<_, BoxError>(2 * x) });
    let answer = |_: Verdict, _: Result<&u32, &std::io::Error>| 0;
    ServiceBuilder::new().layer(FallbackLayer::answer(answer)).service(double).check::<u32>();
}
