//! The contract of a tower layer.

use std::time::Duration;

use buttress_core::BoxError;
use buttress_deadline::DeadlineLayer;
use buttress_dedup::DedupLayer;
use buttress_retry::RetryLayer;
use buttress_testkit::{Clause, Probe, contract, sweep};
use tokio_test::task;
use tower::{ServiceBuilder, ServiceExt};

// Only `Backpressure` is left out: the layer is ready at once, because a call may join or hit.

#[tokio::test(start_paused = true)]
async fn calls_with_distinct_keys_keep_the_contract() {
    contract(DedupLayer::new).without(Clause::Backpressure).await;
}

#[tokio::test(start_paused = true)]
async fn layers_that_resume_panics_or_are_per_service_keep_the_contract() {
    contract(|| DedupLayer::new().resume_panics()).without(Clause::Backpressure).await;
    contract(|| DedupLayer::new().per_service()).without(Clause::Backpressure).await;
}

#[tokio::test(start_paused = true)]
async fn layer_that_shares_errors_keeps_the_contract() {
    let share = |error: &BoxError| Some(BoxError::from(error.to_string()));
    contract(move || DedupLayer::new().share_errors_with(share))
        .without(Clause::Backpressure)
        .await;
}

#[tokio::test(start_paused = true)]
async fn calls_without_a_key_keep_the_contract() {
    contract(|| DedupLayer::keyed(|_: &u32| None::<u32>)).without(Clause::Backpressure).await;
}

#[tokio::test(start_paused = true)]
async fn calls_with_equal_keys_keep_the_contract() {
    // All concurrent calls are one inner call, whose response names the request that started it.
    contract(|| DedupLayer::keyed(|_: &u32| Some(()))).without(Clause::Backpressure).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "Pending stays Pending")]
async fn layer_hides_the_backpressure() {
    contract(DedupLayer::new).await;
}

#[tokio::test(start_paused = true)]
async fn dropped_call_leaves_no_flight_at_any_await() {
    let probe = Probe::new(|n: u32| Ok::<_, BoxError>(n)).permits(1).pausing(3);
    let layer = DedupLayer::new();
    let handle = layer.handle();
    let stack = ServiceBuilder::new()
        .layer(layer)
        .layer(RetryLayer::new(3))
        .layer(DeadlineLayer::new(Duration::from_secs(1)))
        .service(probe.clone());
    let drops = sweep(|| stack.clone().oneshot(1))
        .over(&probe)
        .also(|at| {
            assert_eq!(handle.in_flight(), 0, "{at}");
            assert_eq!(handle.waiters(), 0, "{at}");
        })
        .await;
    assert!(drops > 5, "{drops}");
}

#[tokio::test(start_paused = true)]
async fn dropped_call_leaves_no_flight_at_any_await_of_a_retry() {
    let probe = Probe::new(|_: u32| Err::<u32, _>(BoxError::from("down"))).permits(1).pausing(1);
    let layer = DedupLayer::new();
    let handle = layer.handle();
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(Duration::from_secs(60)))
        .layer(layer)
        .layer(RetryLayer::new(3))
        .layer(DeadlineLayer::new(Duration::from_secs(1)))
        .service(probe.clone());
    let drops = sweep(|| stack.clone().oneshot(1))
        .over(&probe)
        .also(|at| {
            assert_eq!(handle.in_flight(), 0, "{at}");
            assert_eq!(handle.waiters(), 0, "{at}");
        })
        .await;
    assert!(drops > 9, "{drops}");
}

#[tokio::test(start_paused = true)]
async fn remaining_caller_is_served_when_the_other_is_dropped_at_any_await() {
    for leader in [true, false] {
        for polls in 0..8 {
            let probe = Probe::new(|n: u32| Ok::<_, BoxError>(n)).permits(1).pausing(3);
            let layer = DedupLayer::new();
            let handle = layer.handle();
            let stack = ServiceBuilder::new()
                .layer(layer)
                .layer(RetryLayer::new(3))
                .layer(DeadlineLayer::new(Duration::from_secs(1)))
                .service(probe.clone());
            let mut first = task::spawn(stack.clone().oneshot(1));
            let mut second = task::spawn(stack.clone().oneshot(1));
            assert!(first.poll().is_pending() && second.poll().is_pending());
            let (mut leaving, staying) = if leader { (first, second) } else { (second, first) };
            let over = (0..polls).any(|_| leaving.poll().is_ready());
            drop(leaving);
            let answer = staying.await;
            assert_eq!(answer.ok(), Some(1), "{polls} polls, the leader leaves: {leader}");
            assert!(probe.at_rest());
            assert_eq!(probe.calls(), 1);
            assert_eq!(probe.abandoned(), 0);
            assert_eq!(handle.in_flight(), 0);
            assert!(over || polls < 4);
        }
    }
}
