//! The contract of a tower layer.

use std::time::Duration;

use buttress_core::BoxError;
use buttress_testkit::{Clause, Probe, contract, sweep};
use buttress_throttle::{Gradient2, Queue, Rate, ThrottleLayer, Vegas};
use tower::{ServiceBuilder, ServiceExt};

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_keeps_the_contract() {
    contract(|| ThrottleLayer::concurrency(48)).await;
    contract(|| ThrottleLayer::concurrency(3)).await;
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_with_a_queue_keeps_the_contract() {
    contract(|| ThrottleLayer::concurrency(1).queue(48)).await;
    contract(|| ThrottleLayer::concurrency(1).queue(Queue::new(48).adaptive_lifo())).await;
    contract(|| {
        ThrottleLayer::concurrency(1).queue(Queue::new(48).max_wait(Duration::from_secs(1)))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_rate_keeps_the_contract_with_and_without_a_queue() {
    contract(|| ThrottleLayer::rate(Rate::per_second(1_000_000))).await;
    contract(|| ThrottleLayer::rate(Rate::per_second(3).burst(4))).await;
    // Whoever waits for a turn is woken by time, which the clause lets stand still.
    contract(|| ThrottleLayer::rate(Rate::per_second(10).burst(1)).queue(48))
        .without(Clause::Waking)
        .await;
}

#[tokio::test(start_paused = true)]
async fn limits_that_learn_keep_the_contract() {
    contract(|| ThrottleLayer::adaptive(Gradient2::default()).queue(48)).await;
    contract(|| ThrottleLayer::adaptive(Vegas::default())).await;
    contract(ThrottleLayer::accept_ratio).await;
}

#[tokio::test(start_paused = true)]
async fn keyed_limit_keeps_the_contract() {
    contract(|| ThrottleLayer::concurrency(1).queue(48).keyed(|n: &u32| Some(n % 3))).await;
}

#[tokio::test(start_paused = true)]
async fn observing_limit_keeps_the_contract() {
    contract(|| ThrottleLayer::concurrency(1).observe()).await;
}

#[tokio::test(start_paused = true)]
async fn dropped_call_leaves_no_permit_at_any_await() {
    let probe = Probe::new(|n: u32| Ok::<_, BoxError>(n)).permits(1).pausing(3);
    let layer = ThrottleLayer::concurrency(1).queue(2);
    let handle = layer.handle();
    let stack = ServiceBuilder::new().layer(layer).service(probe.clone());
    let drops = sweep(|| stack.clone().oneshot(1))
        .over(&probe)
        .also(|at| assert_eq!((handle.in_flight(), handle.queued()), (0, 0), "{at}"))
        .await;
    assert!(drops > 3);
}

#[tokio::test(start_paused = true)]
async fn dropped_waiter_leaves_no_place_at_any_await() {
    let probe = Probe::new(|n: u32| Ok::<_, BoxError>(n)).permits(1).pausing(1);
    let layer = ThrottleLayer::rate(Rate::per_second(10).burst(1)).queue(9);
    let handle = layer.handle();
    let stack = ServiceBuilder::new().layer(layer).service(probe.clone());
    let drops = sweep(|| stack.clone().oneshot(1))
        .over(&probe)
        .also(|at| assert_eq!(handle.queued(), 0, "{at}"))
        .await;
    assert!(drops > 3);
}
