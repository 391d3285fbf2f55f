//! Requests that cannot be compared, and no key for them.

use buttress::{BoxError, Check, DedupLayer};
use tower::{ServiceBuilder, service_fn};

#[derive(Clone)]
struct Query(f64);

fn main() {
    let double =
        service_fn(|query: Query| async move { Ok::<_, BoxError>((2.0 * query.0).to_string()) });
    ServiceBuilder::new().layer(DedupLayer::new()).service(double).check::<Query>();
}
