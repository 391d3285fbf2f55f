//! The budget of a layer: the ratio, the throttle of gRPC, and the quota of AWS.

use buttress_retry::{Budget, Ratio, RetryLayer, RetryThrottle, StopReason, TokenBucket};
use tokio::time::sleep;
use tower::{Layer, ServiceExt};

use crate::support::{MS, NO_WAIT, calls, fixed, flaky, never_processed, poll_once};

#[tokio::test(start_paused = true)]
async fn budget_limits_retries_over_all_services_of_a_layer() {
    // No call waits for a token, and first attempts are always sent.
    let layer = RetryLayer::new(4).backoff(NO_WAIT).budget(Budget::new(Ratio::percent(10), 0));
    let mut made = 0;
    for _ in 0..1000 {
        let (service, log) = flaky(u32::MAX);
        layer.layer(service).oneshot(0).await.unwrap_err();
        made += calls(&log);
    }
    assert_eq!(made, 1100);
    assert_eq!(layer.handle().retries(), 100);
    assert!(layer.handle().stopped(StopReason::BudgetEmpty) > 900);
}

#[tokio::test(start_paused = true)]
async fn call_dropped_during_backoff_costs_nothing() {
    let (service, log) = flaky(u32::MAX);
    let budget = Budget::new(Ratio::percent(0), 1);
    let layer = RetryLayer::new(3).backoff(fixed(1000 * MS)).budget(budget.clone());
    let before = budget.balance();
    let call = layer.layer(service).oneshot(0);
    assert!(tokio::time::timeout(500 * MS, call).await.is_err());
    assert_eq!(budget.balance(), before);
    assert_eq!(calls(&log), 1);
}

#[tokio::test(start_paused = true)]
async fn budget_is_shared_between_layers() {
    let budget = Budget::new(Ratio::percent(0), 1);
    let mut retries = 0;
    for _ in 0..4 {
        let layer = RetryLayer::new(100).backoff(NO_WAIT).budget(budget.clone());
        let (service, _) = flaky(u32::MAX);
        layer.layer(service).oneshot(0).await.unwrap_err();
        retries += layer.handle().retries();
    }
    assert_eq!(retries, 10);
}

/// gRFC A6, retry throttling.
#[tokio::test(start_paused = true)]
async fn grpc_throttle_stops_retries_at_half_and_recovers_with_successes() {
    // 10 tokens, a failure takes one, and retries are allowed above five.
    let budget = Budget::throttle(RetryThrottle::new(10, Ratio::percent(50)));
    let layer = RetryLayer::new(10).backoff(NO_WAIT).budget(budget.clone());
    let (service, log) = flaky(u32::MAX);
    layer.layer(service).oneshot(0).await.unwrap_err();
    assert_eq!(calls(&log), 5);
    let (service, _) = flaky(0);
    let service = layer.layer(service);
    for _ in 0..2 {
        service.clone().oneshot(0).await.unwrap();
    }
    assert_eq!(budget.balance(), Some(6));
}

#[tokio::test(start_paused = true)]
async fn aws_quota_recovers_with_successes() {
    let budget = Budget::tokens(TokenBucket::new(20));
    let layer = RetryLayer::new(10).backoff(NO_WAIT).budget(budget.clone());
    let (service, log) = flaky(u32::MAX);
    layer.layer(service).oneshot(0).await.unwrap_err();
    assert_eq!(calls(&log), 5);
    assert_eq!(budget.balance(), Some(0));
    let (service, _) = flaky(0);
    let service = layer.layer(service);
    for _ in 0..30 {
        service.clone().oneshot(0).await.unwrap();
    }
    assert_eq!(budget.balance(), Some(20));
}

#[tokio::test(start_paused = true)]
async fn free_attempt_earns_no_more_than_a_first_success() {
    let budget = Budget::tokens(TokenBucket::new(10));
    let drain = RetryLayer::new(3).backoff(NO_WAIT).budget(budget.clone());
    drain.layer(flaky(u32::MAX).0).oneshot(0).await.unwrap_err();
    assert_eq!(budget.balance(), Some(0));
    let layer = RetryLayer::new(3).budget(budget.clone()).classify(never_processed);
    assert_eq!(layer.layer(flaky(1).0).oneshot(0).await.unwrap(), 2);
    assert_eq!(budget.balance(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn withdrawal_outside_the_window_is_not_refunded() {
    let budget = Budget::over(1000 * MS, Ratio::percent(0), 1);
    let layer = RetryLayer::new(2).backoff(fixed(5000 * MS)).budget(budget.clone());
    let mut waiting = Box::pin(layer.layer(flaky(u32::MAX).0).oneshot(0));
    assert!(poll_once(waiting.as_mut()).await.is_pending());
    sleep(2000 * MS).await;
    let quick = RetryLayer::new(2).backoff(NO_WAIT).budget(budget.clone());
    quick.layer(flaky(u32::MAX).0).oneshot(0).await.unwrap_err();
    drop(waiting);
    quick.layer(flaky(u32::MAX).0).oneshot(0).await.unwrap_err();
    assert_eq!(quick.handle().retries(), 1);
}
