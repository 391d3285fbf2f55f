//! Errors for everybody that cannot be cloned.

use buttress::{BoxError, Check, DedupLayer};
use tower::{ServiceBuilder, service_fn};

fn main() {
    let load = service_fn(|id: u32| async move { Ok::<_, BoxError>(id) });
    ServiceBuilder::new()
        .layer(DedupLayer::new().share_errors())
        .service(load)
        .check::<u32>();
}
