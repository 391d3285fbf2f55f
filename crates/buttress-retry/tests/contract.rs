//! The contract of a tower layer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress_core::BoxError;
use buttress_deadline::DeadlineLayer;
use buttress_retry::{Budget, Ratio, RetryLayer};
use buttress_testkit::{Probe, contract, sweep};
use tower::{ServiceBuilder, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn retry_layer_keeps_the_contract() {
    contract(|| RetryLayer::new(3)).await;
}

#[tokio::test(start_paused = true)]
async fn layer_of_one_attempt_keeps_the_contract() {
    contract(|| RetryLayer::new(1)).await;
}

#[tokio::test(start_paused = true)]
async fn stack_of_deadline_retry_and_attempt_deadline_keeps_the_contract() {
    contract(|| {
        (DeadlineLayer::new(30 * SECOND), RetryLayer::new(3), DeadlineLayer::new(5 * SECOND))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn dropped_call_leaves_nothing_behind_at_any_await() {
    let failures = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&failures);
    // Every other response is a failure.
    let probe = Probe::new(move |n: u32| match count.fetch_add(1, Ordering::Relaxed) % 2 {
        0 => Err(BoxError::from("failure")),
        _ => Ok(n),
    });
    let probe = probe.permits(1).pausing(2);
    let budget = Budget::new(Ratio::percent(0), 1000);
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(30 * SECOND))
        .layer(RetryLayer::new(4).budget(budget))
        .layer(DeadlineLayer::new(SECOND))
        .service(probe.clone());
    let drops = sweep(|| stack.clone().oneshot(1)).over(&probe).await;
    assert!(drops > 5, "{drops}");
}
