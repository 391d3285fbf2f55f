//! Payments: the layer's own budget, the shared budget, and refunds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use buttress_control::{RetryThrottle, TokenBucket};
use buttress_core::BoxError;
use buttress_hedge::{Budget, HedgeLayer, HedgeSnapshot, Ratio, WithheldCounts, WithheldReason};
use buttress_retry::{Backoff, RetryLayer};
use buttress_testkit::counts;
use tokio::time::{advance, sleep};
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};

use crate::support::{MS, SECOND, failure, hedging, script, tokens};

const DELAY: Duration = Duration::from_millis(50);

/// Makes this many calls of 100 ms, one after the other.
async fn slow_calls(layer: &HedgeLayer, calls: u32) {
    for _ in 0..calls {
        let upstream = script().delay(100 * MS).ok(1).service();
        assert_eq!(layer.layer(upstream).oneshot(1).await.unwrap(), 1);
    }
}

/// HG-09.
#[tokio::test(start_paused = true)]
async fn own_budget_is_drained_to_the_exact_count() {
    let own = Budget::over(60 * SECOND, Ratio::ZERO, 1);
    let left = own.balance().unwrap();
    assert_eq!(left, 60);
    let layer = HedgeLayer::after(DELAY).budget(own.clone());
    slow_calls(&layer, 75).await;
    let expected = counts!(HedgeSnapshot {
        calls: 75,
        sent: 60,
        withheld: WithheldCounts::from([(WithheldReason::BudgetEmpty, 15)]),
        delay: Some(DELAY),
        budget: Some(0),
    });
    assert_eq!(layer.handle().snapshot(), expected);
}

/// HG-09. The own budget gets back its payment for a hedge that the shared budget does not pay for.
#[tokio::test(start_paused = true)]
async fn shared_budget_is_drained_to_the_exact_count() {
    let own = Budget::over(60 * SECOND, Ratio::ZERO, 1);
    let shared = Budget::over(60 * SECOND, Ratio::percent(100), 0);
    let layer = HedgeLayer::after(DELAY).budget(own.clone()).share(shared.clone());
    slow_calls(&layer, 3).await;
    assert_eq!(shared.balance(), Some(0), "the calls of the layer earn nothing there");
    assert_eq!(own.balance(), Some(60));
    let shared = Budget::over(60 * SECOND, Ratio::ZERO, 1);
    let other = HedgeLayer::after(DELAY).budget(shared.clone());
    slow_calls(&other, 53).await;
    let layer = layer.share(shared.clone());
    slow_calls(&layer, 10).await;
    assert_eq!((own.balance(), shared.balance()), (Some(53), Some(0)));
    let snapshot = layer.handle().snapshot();
    assert_eq!(snapshot.sent, 7);
    assert_eq!(snapshot.withheld, WithheldCounts::from([(WithheldReason::SharedBudgetEmpty, 6)]));
}

#[tokio::test(start_paused = true)]
async fn default_budget_pays_for_a_hedge_of_twenty_calls() {
    let layer = HedgeLayer::after(DELAY);
    slow_calls(&layer, 19).await;
    assert_eq!(layer.handle().sent(), 0);
    slow_calls(&layer, 1).await;
    assert_eq!(layer.handle().sent(), 1);
    slow_calls(&layer, 60).await;
    assert_eq!(layer.handle().sent(), 4);
}

/// HG-09: a ratio above 100 % earns no more than the hedges that the calls can use.
#[tokio::test(start_paused = true)]
async fn ratio_above_all_counts_as_a_hedge_per_call() {
    let layer = HedgeLayer::after(DELAY).budget(Budget::new(Ratio::percent(200), 0));
    slow_calls(&layer, 20).await;
    assert_eq!(layer.handle().sent(), 20);
    let layer = HedgeLayer::after(DELAY).budget(Budget::new(Ratio::of(-5.0), 0));
    slow_calls(&layer, 20).await;
    assert_eq!(layer.handle().sent(), 0);
}

/// BG-13.
#[tokio::test(start_paused = true)]
async fn empty_budget_cancels_no_try_that_runs() {
    let upstream = script().hang().delay(SECOND).ok(2).service();
    let layer = HedgeLayer::after(DELAY).at_most(5).budget(tokens(1));
    let mut call = task::spawn(layer.layer(upstream.clone()).oneshot(1));
    for step in [0, 51, 50, 500] {
        advance(Duration::from_millis(step)).await;
        assert_pending!(call.poll());
    }
    assert_eq!(upstream.live(), 2);
    let expected = WithheldCounts::from([(WithheldReason::BudgetEmpty, 1)]);
    assert_eq!(layer.handle().snapshot().withheld, expected);
    assert_eq!(call.await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn hedge_that_still_waits_for_readiness_is_paid_back() {
    for drops in [false, true] {
        let upstream = script().delay(100 * MS).ok(1).service();
        let (own, shared) = (tokens(5), tokens(5));
        let layer = HedgeLayer::after(DELAY).budget(own.clone()).share(shared.clone());
        let stack = ServiceBuilder::new()
            .layer(layer.clone())
            .layer(ConcurrencyLimitLayer::new(1))
            .service(upstream.clone());
        let mut call = task::spawn(stack.oneshot(1));
        assert_pending!(call.poll());
        advance(51 * MS).await;
        assert_pending!(call.poll());
        assert_eq!((own.balance(), shared.balance()), (Some(4), Some(4)));
        if drops {
            drop(call);
        } else {
            assert_eq!(call.await.unwrap(), 1);
        }
        assert_eq!((own.balance(), shared.balance()), (Some(5), Some(5)));
        assert_eq!((layer.handle().sent(), upstream.calls()), (0, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn hedge_that_was_sent_stays_paid_when_the_call_is_dropped() {
    let upstream = script().hang().service();
    let own = tokens(5);
    let mut call =
        task::spawn(HedgeLayer::after(DELAY).budget(own.clone()).layer(upstream).oneshot(1));
    assert_pending!(call.poll());
    advance(51 * MS).await;
    assert_pending!(call.poll());
    drop(call);
    assert_eq!(own.balance(), Some(4));
}

/// A later attempt is a call of its own that may be hedged, and earns nothing.
#[tokio::test(start_paused = true)]
async fn attempts_of_a_retry_may_each_be_hedged_and_earn_once() {
    let own = Budget::over(60 * SECOND, Ratio::percent(100), 0);
    let hedge = HedgeLayer::after(DELAY).budget(own.clone());
    let retry = RetryLayer::new(3).backoff(Backoff::none()).budget(Budget::unlimited());
    let upstream = script().delay(100 * MS).answer(failure("failed")).service();
    let stack = ServiceBuilder::new().layer(retry).layer(hedge.clone()).service(upstream.clone());
    stack.oneshot(1).await.unwrap_err();
    assert_eq!(upstream.calls(), 4, "three attempts, and one hedge");
    let expected = counts!(HedgeSnapshot {
        calls: 3,
        sent: 1,
        withheld: WithheldCounts::from([(WithheldReason::BudgetEmpty, 2)]),
        delay: Some(DELAY),
        budget: Some(0),
    });
    assert_eq!(hedge.handle().snapshot(), expected);
}

/// Three attempts of two tries each could make six calls.
#[tokio::test(start_paused = true)]
async fn retry_and_hedge_stay_within_their_budgets_together() {
    for is_shared in [false, true] {
        let retry_budget = Budget::new(Ratio::percent(20), 0);
        let retry = RetryLayer::new(3).backoff(Backoff::none()).budget(retry_budget.clone());
        let mut hedge = HedgeLayer::after(DELAY);
        if is_shared {
            hedge = hedge.share(retry.handle().budget().clone());
        }
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let service = service_fn(move |_: u32| {
            count.fetch_add(1, Ordering::Relaxed);
            async {
                sleep(100 * MS).await;
                Err::<u32, BoxError>("down".into())
            }
        });
        let stack = ServiceBuilder::new().layer(retry.clone()).layer(hedge.clone());
        let stack = stack.service(service);
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..1000 {
            sleep(MS).await;
            calls.spawn(stack.clone().oneshot(1));
        }
        calls.join_all().await;
        let (retries, hedges) = (retry.handle().retries(), hedge.handle().sent());
        let made = made.load(Ordering::Relaxed) as u64;
        assert_eq!(made, 1000 + retries + hedges);
        assert!(retries + hedges >= 150, "{retries} retries, {hedges} hedges");
        assert!(hedges <= 50, "{hedges} hedges");
        // Of a shared budget, the retries take most.
        assert!(is_shared || hedges >= 40, "{hedges} hedges");
        assert!(made <= if is_shared { 1200 } else { 1250 }, "{made} calls, shared: {is_shared}");
    }
}

#[tokio::test(start_paused = true)]
async fn retry_that_owns_the_same_account_counts_the_calls() {
    let budget = Budget::over(60 * SECOND, Ratio::percent(100), 0);
    let retry = RetryLayer::new(2).budget(budget.clone());
    let hedge = hedging(DELAY).budget(budget.clone());
    let stack = ServiceBuilder::new().layer(retry).layer(hedge).service(script().ok(1).service());
    for _ in 0..10 {
        stack.clone().oneshot(1).await.unwrap();
    }
    assert_eq!(budget.balance(), Some(10));
}

#[tokio::test(start_paused = true)]
async fn account_that_is_also_shared_pays_twice() {
    let budget = tokens(5);
    let layer = HedgeLayer::after(DELAY).budget(budget.clone()).share(budget.clone());
    slow_calls(&layer, 1).await;
    assert_eq!((layer.handle().sent(), budget.balance()), (1, Some(3)));
    sleep(10 * SECOND).await;
    assert_eq!(budget.balance(), Some(5));
}

#[tokio::test(start_paused = true)]
async fn inner_retry_with_the_same_account_counts_each_call_again() {
    let budget = Budget::over(60 * SECOND, Ratio::percent(100), 0);
    let retry = RetryLayer::new(2).budget(budget.clone());
    let hedge = hedging(DELAY).budget(budget.clone());
    let stack = ServiceBuilder::new().layer(hedge).layer(retry).service(script().ok(1).service());
    for _ in 0..10 {
        stack.clone().oneshot(1).await.unwrap();
    }
    assert_eq!(budget.balance(), Some(20));
}

#[tokio::test(start_paused = true)]
async fn budget_of_tokens_earns_with_time_and_not_from_calls() {
    let bucket = TokenBucket::new(10).costs(5, 5).refill_per_second(1.0);
    let layer = HedgeLayer::after(DELAY).budget(Budget::tokens(bucket));
    let sent = || layer.handle().sent();
    // 100 ms each: four seconds are not enough for a third hedge.
    slow_calls(&layer, 40).await;
    assert_eq!(sent(), 2);
    slow_calls(&layer, 20).await;
    assert_eq!(sent(), 3);
}

#[tokio::test(start_paused = true)]
async fn budget_of_grpc_limits_hedges_by_the_failures_that_a_retry_reports() {
    let budget = Budget::throttle(RetryThrottle::new(4, Ratio::percent(10)));
    let layer = HedgeLayer::after(DELAY).budget(budget.clone());
    let failing = || script().delay(100 * MS).answer(failure("down")).service();
    for _ in 0..9 {
        layer.layer(failing()).oneshot(1).await.unwrap_err();
    }
    assert_eq!(layer.handle().sent(), 9);
    let retry = RetryLayer::new(9).backoff(Backoff::none()).budget(budget);
    retry.layer(failing()).oneshot(1).await.unwrap_err();
    slow_calls(&layer, 3).await;
    assert_eq!(layer.handle().sent(), 9);
}

#[test]
fn shared_budget_is_shown_and_can_be_taken_back() {
    let budget = Budget::unlimited();
    let layer = HedgeLayer::after(DELAY);
    assert!(layer.shared_budget().is_none());
    let layer = layer.share(budget.clone());
    assert!(layer.shared_budget().is_some_and(|shared| shared.shares_account_with(&budget)));
    assert!(layer.share(None::<Budget>).shared_budget().is_none());
}
