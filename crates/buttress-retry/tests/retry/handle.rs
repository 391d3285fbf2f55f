//! Handles, snapshots, and the options that decide which services share them.

use buttress_core::BoxError;
use buttress_retry::{
    Backoff, Budget, Ratio, RetryHandle, RetryLayer, RetrySnapshot, StopCounts, StopReason,
};
use buttress_testkit::counts;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::support::{MS, NO_WAIT, calls, fixed, flaky, permanent, times};

/// A layer of three attempts without delay, with a budget of ten retries.
fn layer() -> (RetryLayer, RetryHandle) {
    let layer = RetryLayer::new(3).backoff(NO_WAIT).budget(Budget::new(Ratio::ZERO, 1));
    let handle = layer.handle();
    (layer, handle)
}

async fn fail(service: impl Service<u32, Response = u32, Error = BoxError>) {
    assert!(service.oneshot(0).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn snapshot_counts_calls_retries_and_stops() {
    let (layer, handle) = layer();
    assert_eq!(layer.layer(flaky(1).0).oneshot(0).await.unwrap(), 2);
    fail(layer.layer(flaky(u32::MAX).0)).await;
    fail(layer.classify(permanent).layer(flaky(u32::MAX).0)).await;
    let stops = StopCounts::from([(StopReason::AttemptsUsed, 1), (StopReason::NotRetryable, 1)]);
    let expected = counts!(RetrySnapshot { calls: 3, retries: 3, stopped: stops, budget: Some(7) });
    assert_eq!(handle.snapshot(), expected);
    assert_eq!(handle.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn snapshot_has_no_budget_when_the_budget_is_unlimited() {
    let layer = RetryLayer::new(2).budget(Budget::unlimited());
    assert_eq!(layer.handle().snapshot(), RetrySnapshot::default());
}

#[test]
fn stop_counts_return_zero_for_a_reason_that_did_not_occur() {
    let counts = StopCounts::from([(StopReason::BudgetEmpty, 2), (StopReason::BudgetEmpty, 1)]);
    for reason in StopReason::ALL {
        let expected = if *reason == StopReason::BudgetEmpty { 3 } else { 0 };
        assert_eq!(counts.get(*reason), expected, "{reason}");
    }
    assert_eq!(format!("{counts:?}"), "{BudgetEmpty: 3}");
}

#[tokio::test(start_paused = true)]
async fn handle_of_a_service_reads_the_counters_of_the_layer() {
    let (layer, handle) = layer();
    let service = layer.layer(flaky(u32::MAX).0);
    let of_service = service.handle();
    fail(service).await;
    assert_eq!(of_service.snapshot(), handle.snapshot());
    assert_eq!(handle.retries(), 2);
}

#[tokio::test(start_paused = true)]
async fn per_service_gives_each_service_counters_and_a_budget_of_its_own() {
    let layer = RetryLayer::new(101).backoff(NO_WAIT).per_service();
    let (failing, idle) = (layer.layer(flaky(u32::MAX).0), layer.layer(flaky(0).0));
    fail(failing.clone()).await;
    fail(failing.clone()).await;
    // The default budget has 100 tokens, and 20 % of a call are less than one.
    let stops = StopCounts::from([(StopReason::AttemptsUsed, 1), (StopReason::BudgetEmpty, 1)]);
    let expected =
        counts!(RetrySnapshot { calls: 2, retries: 100, stopped: stops, budget: Some(0) });
    assert_eq!(failing.handle().snapshot(), expected);
    assert_eq!(idle.handle().snapshot(), counts!(RetrySnapshot { budget: Some(100) }));
    assert_eq!(layer.handle().snapshot(), idle.handle().snapshot());
}

#[tokio::test(start_paused = true)]
async fn per_service_shares_a_budget_that_was_given() {
    let (layer, _) = layer();
    let layer = layer.per_service();
    let (first, second) = (layer.layer(flaky(u32::MAX).0), layer.layer(flaky(u32::MAX).0));
    fail(first.clone()).await;
    assert_eq!(second.handle().snapshot(), counts!(RetrySnapshot { budget: Some(8) }));
    assert_eq!(first.handle().retries(), 2);
}

#[tokio::test(start_paused = true)]
async fn per_service_draws_different_delays_for_each_service() {
    let backoff = Backoff::exponential(1000 * MS, 10_000 * MS);
    let layer = RetryLayer::new(4).backoff(backoff).seed(7).per_service();
    let ((first, first_log), (second, second_log)) = (flaky(u32::MAX), flaky(u32::MAX));
    tokio::join!(fail(layer.layer(first)), fail(layer.layer(second)));
    assert_ne!(times(&first_log), times(&second_log));
}

#[tokio::test(start_paused = true)]
async fn observe_pays_for_a_retry_and_returns_the_first_outcome_at_once() {
    let (service, log) = flaky(u32::MAX);
    let layer =
        RetryLayer::new(3).backoff(fixed(100 * MS)).budget(Budget::new(Ratio::ZERO, 1)).observe();
    let start = Instant::now();
    let error = layer.layer(service).oneshot(0).await.unwrap_err();
    assert_eq!(error.to_string(), "failure 1");
    assert_eq!(start.elapsed(), std::time::Duration::ZERO);
    assert_eq!(calls(&log), 1);
    let expected = counts!(RetrySnapshot { calls: 1, retries: 1, budget: Some(9) });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn observe_counts_a_stop_and_leaves_the_outcome_to_an_outer_retry() {
    let (service, log) = flaky(u32::MAX);
    let inner = RetryLayer::new(2).budget(Budget::new(Ratio::ZERO, 0)).observe();
    let (outer, _) = layer();
    fail(ServiceBuilder::new().layer(outer).layer(inner.clone()).service(service)).await;
    assert_eq!(calls(&log), 3);
    assert_eq!(inner.handle().stopped(StopReason::BudgetEmpty), 3);
}

#[tokio::test(start_paused = true)]
async fn seed_leaves_the_generator_of_a_clone_alone() {
    let backoff = Backoff::exponential(1000 * MS, 10_000 * MS);
    let delays = async |layer: &RetryLayer| {
        let (service, log) = flaky(u32::MAX);
        fail(layer.layer(service)).await;
        times(&log)
    };
    let layer = RetryLayer::new(4).backoff(backoff).seed(7);
    let expected = delays(&layer.clone().seed(7)).await;
    let reseeded = layer.clone().seed(8);
    assert_ne!(delays(&reseeded).await, expected);
    assert_eq!(delays(&layer).await, expected, "the clone drew from a generator of its own");
}

#[tokio::test(start_paused = true)]
async fn options_never_change_a_sibling() {
    let (layer, handle) = layer();
    let sibling = layer.clone();
    let _ = layer
        .backoff(Backoff::constant(1000 * MS))
        .budget(Budget::new(Ratio::ZERO, 0))
        .named("other")
        .observe()
        .per_service()
        .wait_for_circuit()
        .skip_late_attempts();
    let start = Instant::now();
    fail(sibling.layer(flaky(u32::MAX).0)).await;
    assert_eq!(start.elapsed(), std::time::Duration::ZERO);
    assert_eq!(handle.snapshot(), sibling.handle().snapshot());
    assert_eq!(handle.retries(), 2);
}
