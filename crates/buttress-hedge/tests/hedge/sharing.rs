//! What clones, services and handles share.

use buttress_hedge::{Budget, HedgeLayer, HedgeSnapshot, Ratio, WithheldCounts, WithheldReason};
use buttress_testkit::counts;
use tower::{Layer, ServiceExt};

use crate::support::{MS, SECOND, script, tokens};

async fn slow_call(layer: &HedgeLayer) {
    let upstream = script().delay(100 * MS).ok(1).service();
    layer.layer(upstream).oneshot(1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn clones_share_counters_and_budget() {
    let layer = HedgeLayer::after(50 * MS).budget(tokens(1));
    let handle = layer.handle();
    slow_call(&layer.clone()).await;
    slow_call(&layer.clone().named("other")).await;
    let expected = counts!(HedgeSnapshot {
        calls: 2,
        sent: 1,
        withheld: WithheldCounts::from([(WithheldReason::BudgetEmpty, 1)]),
        delay: Some(50 * MS),
        budget: Some(0),
    });
    assert_eq!(handle.snapshot(), expected);
    assert_eq!(handle.withheld(WithheldReason::BudgetEmpty), 1);
    assert_eq!(handle.withheld(WithheldReason::Deadline), 0);
    assert_eq!(handle.budget().balance(), Some(0));
    assert!(format!("{handle:?}").contains("withheld: {BudgetEmpty: 1}"), "{handle:?}");
}

#[tokio::test(start_paused = true)]
async fn option_changes_no_clone_made_before() {
    let layer = HedgeLayer::after(50 * MS).budget(tokens(9));
    let before = layer.clone();
    let changed = layer.at_most(0).budget(tokens(3)).share(tokens(0)).observe().after_failures();
    slow_call(&changed).await;
    assert_eq!(changed.handle().sent(), 0);
    let upstream = script().delay(100 * MS).ok(1).service();
    before.layer(upstream.clone()).oneshot(1).await.unwrap();
    assert_eq!(upstream.calls(), 2);
    assert_eq!(before.handle().budget().balance(), Some(8));
}

#[tokio::test(start_paused = true)]
async fn per_service_gives_each_service_counters_latency_and_budget() {
    let layer = HedgeLayer::learned().per_service();
    let one = layer.layer(script().delay(100 * MS).ok(1).service());
    let other = layer.layer(script().delay(100 * MS).ok(1).service());
    for _ in 0..60 {
        one.clone().oneshot(1).await.unwrap();
    }
    assert!(one.handle().delay().is_some());
    assert_eq!((one.handle().calls(), one.handle().budget().balance()), (60, Some(3)));
    let fresh = counts!(HedgeSnapshot { budget: Some(0) });
    assert_eq!(other.handle().snapshot(), fresh);
    assert_eq!(layer.handle().snapshot(), fresh);
}

#[tokio::test(start_paused = true)]
async fn given_budget_stays_shared_between_services() {
    let budget = Budget::over(60 * SECOND, Ratio::percent(100), 0);
    let layer = HedgeLayer::after(SECOND).budget(budget.clone()).per_service();
    for _ in 0..3 {
        layer.layer(script().ok(1).service()).oneshot(1).await.unwrap();
    }
    assert_eq!(budget.balance(), Some(3));
}

/// H11.
#[tokio::test(start_paused = true)]
async fn observed_layer_counts_and_pays_for_hedges_and_sends_none() {
    let (own, shared) = (tokens(9), tokens(9));
    let layer = HedgeLayer::after(30 * MS).at_most(5).budget(own.clone()).share(shared.clone());
    let layer = layer.observe();
    let upstream = script().delay(100 * MS).ok(1).service();
    layer.layer(upstream.clone()).oneshot(1).await.unwrap();
    assert_eq!(upstream.calls(), 1);
    assert_eq!((own.balance(), shared.balance()), (Some(6), Some(6)));
    let expected =
        counts!(HedgeSnapshot { calls: 1, sent: 3, delay: Some(30 * MS), budget: Some(6) });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn observed_layer_returns_a_failure_at_once() {
    let layer = HedgeLayer::after(30 * MS).at_most(2).budget(tokens(9)).after_failures().observe();
    for delay in [10, 40] {
        let failing = script().delay(delay * MS).answer(|_| Err("failed".into()));
        let upstream = failing.hang().service();
        let error = layer.layer(upstream.clone()).oneshot(1).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), upstream.calls()), ("failed", 1));
    }
    assert_eq!(layer.handle().sent(), 3);
}

#[test]
fn layers_services_and_futures_cross_threads() {
    fn is_send<T: Send>(_: &T) {}
    fn is_sync<T: Sync>(_: &T) {}
    let layer = HedgeLayer::learned();
    is_sync(&layer);
    is_sync(&layer.handle());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _entered = runtime.enter();
    let service = layer.layer(script().ok(1).service());
    is_sync(&service);
    is_send(&service.oneshot(1));
}
