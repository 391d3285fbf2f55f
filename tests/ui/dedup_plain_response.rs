//! A response that cannot be cloned.

use buttress::{BoxError, Check, DedupLayer};
use tower::{ServiceBuilder, service_fn};

struct Row(u32);

fn main() {
    let load = service_fn(|id: u32| async move { Ok::<_, BoxError>(Row(id)) });
    ServiceBuilder::new().layer(DedupLayer::new()).service(load).check::<u32>();
}
