//! Payments that go back to the budget, and payments that stay.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use buttress_core::{BoxError, Rejection, RetryHint, Verdict};
use buttress_deadline::DeadlineLayer;
use buttress_retry::{Budget, Ratio, RetryLayer, StopReason, TokenBucket};
use tokio::time::{sleep, timeout};
use tower::{Layer, ServiceBuilder, ServiceExt};

use crate::support::{MS, NO_WAIT, SECOND, calls, fixed, flaky, on, poll_once, rejected, scripted};

#[tokio::test(start_paused = true)]
async fn refund_is_dated_to_the_time_of_the_payment() {
    let budget = Budget::new(Ratio::ZERO, 1);
    let patient = RetryLayer::new(2).backoff(fixed(60 * SECOND)).budget(budget.clone());
    let mut waiting: Vec<_> =
        (0..5).map(|_| Box::pin(patient.layer(flaky(u32::MAX).0).oneshot(0))).collect();
    for call in &mut waiting {
        assert!(poll_once(call.as_mut()).await.is_pending());
    }
    sleep(9 * SECOND).await;
    let quick = RetryLayer::new(2).backoff(NO_WAIT).budget(budget.clone());
    for _ in 0..5 {
        quick.layer(flaky(u32::MAX).0).oneshot(0).await.unwrap_err();
    }
    drop(waiting);
    sleep(2 * SECOND).await;
    for _ in 0..10 {
        quick.layer(flaky(u32::MAX).0).oneshot(0).await.unwrap_err();
    }
    // Of a reserve of 10 over 10 s, 5 were used 2 s ago.
    assert_eq!(quick.handle().retries(), 10);
}

#[tokio::test(start_paused = true)]
async fn aws_quota_does_not_refund_a_retry_that_a_full_bucket_made_good() {
    let budget = Budget::tokens(TokenBucket::new(10).costs(10, 10).refill_per_second(1.0));
    let waiting = RetryLayer::new(2).backoff(fixed(600 * SECOND)).budget(budget.clone());
    let mut waiting = Box::pin(waiting.layer(flaky(u32::MAX).0).oneshot(0));
    assert!(poll_once(waiting.as_mut()).await.is_pending());
    sleep(60 * SECOND).await;
    let quick = RetryLayer::new(2).backoff(NO_WAIT).budget(budget.clone());
    quick.layer(flaky(u32::MAX).0).oneshot(0).await.unwrap_err();
    drop(waiting);
    assert_eq!(quick.handle().retries(), 1);
    assert_eq!(budget.balance(), Some(0));
}

/// A limiter below delays each second attempt, and then admits it to a service that is down.
#[tokio::test(start_paused = true)]
async fn retry_that_a_limiter_delays_is_paid_for_once() {
    let quota = |tokens| TokenBucket::new(tokens).costs(1, 1);
    for budget in [Budget::over(SECOND * 60, Ratio::ZERO, 1), Budget::tokens(quota(60))] {
        let layer = RetryLayer::new(2).backoff(NO_WAIT).budget(budget.clone());
        let mut reached = 0;
        for _ in 0..100 {
            let asked = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&asked);
            let (service, _) = scripted(move |_| match count.fetch_add(1, Ordering::Relaxed) {
                1 => Err(rejected(MS)),
                _ => Err("down".into()),
            });
            layer.layer(service).oneshot(0).await.unwrap_err();
            reached += asked.load(Ordering::Relaxed).saturating_sub(2);
        }
        assert_eq!(reached, 60);
        assert_eq!(budget.balance(), Some(0));
        assert_eq!(layer.handle().stopped(StopReason::BudgetEmpty), 40);
    }
}

#[tokio::test(start_paused = true)]
async fn retry_dropped_while_a_limiter_delays_it_is_refunded() {
    let budget = Budget::over(SECOND * 60, Ratio::ZERO, 1);
    let layer = RetryLayer::new(2).backoff(NO_WAIT).budget(budget.clone());
    let (service, log) = scripted(|attempt| match attempt {
        1 => Err("down".into()),
        _ => Err(rejected(SECOND)),
    });
    let mut call = Box::pin(layer.layer(service).oneshot(0));
    assert!(timeout(100 * MS, call.as_mut()).await.is_err());
    assert_eq!(calls(&log), 2);
    assert_eq!(budget.balance(), Some(59));
    drop(call);
    assert_eq!(budget.balance(), Some(60));
}

/// The inner layer reached the service before a limiter rejected it.
#[tokio::test(start_paused = true)]
async fn retry_within_which_an_inner_retry_gave_up_is_not_refunded() {
    let budget = Budget::over(SECOND * 60, Ratio::ZERO, 1);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let (service, _) = scripted(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 => Err("hinted".into()),
        1 => Err("down".into()),
        _ => Err(rejected(MS)),
    });
    let by_text = |outcome: Result<&u32, &BoxError>| match outcome {
        Ok(_) => Verdict::Success,
        Err(error) if error.to_string() == "hinted" => {
            Verdict::Throttled(Some(RetryHint::After(200 * MS)))
        }
        Err(error) => Rejection::find(error).map_or(Verdict::Transient, Verdict::from_rejection),
    };
    let stack = ServiceBuilder::new()
        .layer(on(&budget).classify(by_text))
        .layer(DeadlineLayer::new(100 * MS))
        .layer(on(&budget).classify(by_text));
    stack.service(service).oneshot(0).await.unwrap_err();
    assert_eq!(asked.load(Ordering::Relaxed), 4);
    assert_eq!(budget.balance(), Some(59));
}
