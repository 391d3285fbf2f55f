//! The service of a soak.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use buttress::{Rate, Redis, Rejection, ThrottleLayer, throttle::Fleet};
use tower::{Layer, Service, ServiceExt};

/// Gives each tenant a rate of its own in front of `inner`. Tenants come and go.
pub(super) fn per_tenant<S>(
    inner: S,
    redis: &Redis,
    replicas: u32,
) -> impl Service<(), Response = u64, Error = Rejection, Future: Send> + Clone + Send + 'static
where
    S: Service<(), Response = u64, Error = Rejection, Future: Send> + Clone + Send + 'static,
{
    let layer = ThrottleLayer::rate(Rate::per_second(1000).burst(100))
        .fleet(Fleet::new(redis.quotas(), replicas))
        .keyed(|tenant: &u64| Some(*tenant))
        .named("tenants");
    let calls = Arc::new(AtomicU64::new(0));
    let tenant = move |()| calls.fetch_add(1, Relaxed) / CALLS_OF_A_TENANT;
    layer.layer(inner.map_request(|_: u64| ())).map_request(tenant)
}

/// A replica sees as many calls of a tenant, one after the other, and then none.
const CALLS_OF_A_TENANT: u64 = 20;
