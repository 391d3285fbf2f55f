//! The contract of a tower layer.

use std::time::Duration;

use buttress_core::BoxError;
use buttress_deadline::DeadlineLayer;
use buttress_testkit::{Probe, contract, sweep};
use tower::{ServiceBuilder, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn layer_with_a_timeout_keeps_the_contract() {
    contract(|| DeadlineLayer::new(SECOND)).await;
}

#[tokio::test(start_paused = true)]
async fn propagating_layer_keeps_the_contract() {
    contract(DeadlineLayer::propagate).await;
}

#[tokio::test(start_paused = true)]
async fn observing_layer_keeps_the_contract() {
    contract(|| DeadlineLayer::new(SECOND).observe()).await;
}

#[tokio::test(start_paused = true)]
async fn dropped_call_leaves_nothing_behind_at_any_await() {
    let probe = Probe::new(|n: u32| Ok::<_, BoxError>(n)).permits(1).pausing(3);
    let layer = DeadlineLayer::new(SECOND);
    let handle = layer.handle();
    let stack = ServiceBuilder::new().layer(layer).service(probe.clone());
    let drops = sweep(|| stack.clone().oneshot(1))
        .over(&probe)
        .also(|at| assert_eq!(handle.in_flight(), 0, "{at}"))
        .await;
    assert!(drops > 3);
}
