//! A request that can be sent only once.

use buttress::{BoxError, Check, hedge::HedgeLayer};
use tower::{ServiceBuilder, service_fn};

struct Once;

fn main() {
    let service = service_fn(|_: Once| async { Ok::<_, BoxError>(()) });
    ServiceBuilder::new().layer(HedgeLayer::learned()).service(service).check::<Once>();
}
