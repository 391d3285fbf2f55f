//! An answer that reads the outcome, whose type the closure does not state.

use buttress::{BoxError, Check, FallbackLayer};
use tower::{ServiceBuilder, service_fn};

fn main() {
    let double = service_fn(|x: u32| async move { Ok::<_, BoxError>(2 * x) });
    let layer = FallbackLayer::answer(|_, outcome| outcome.map_or(0, |x| x.count_ones()));
    ServiceBuilder::new().layer(layer).service(double).check::<u32>();
}
