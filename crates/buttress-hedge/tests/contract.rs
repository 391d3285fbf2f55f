//! The contract of a tower layer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress_core::{Attempt, BoxError};
use buttress_deadline::DeadlineLayer;
use buttress_hedge::{Budget, HedgeLayer, Ratio};
use buttress_retry::RetryLayer;
use buttress_testkit::{Probe, contract, sweep};
use tokio::time::sleep;
use tower::{ServiceBuilder, ServiceExt, service_fn};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn hedge_layer_keeps_the_contract() {
    contract(|| HedgeLayer::after(50 * MS)).await;
    // Without a budget, because a hedge is one call more than the contract expects.
    let none = || Budget::new(Ratio::ZERO, 0);
    contract(move || HedgeLayer::after(Duration::ZERO).at_most(3).budget(none())).await;
    contract(HedgeLayer::learned).await;
}

#[tokio::test(start_paused = true)]
async fn layer_that_hedges_failures_keeps_the_contract() {
    contract(|| HedgeLayer::after(50 * MS).after_failures()).await;
}

#[tokio::test(start_paused = true)]
async fn layer_that_is_off_or_observes_keeps_the_contract() {
    contract(|| HedgeLayer::after(50 * MS).budget(Budget::unlimited()).at_most(0)).await;
    contract(|| HedgeLayer::after(50 * MS).budget(Budget::unlimited()).observe()).await;
}

#[tokio::test(start_paused = true)]
async fn stack_of_deadline_retry_hedge_and_attempt_deadline_keeps_the_contract() {
    contract(|| {
        let retry = RetryLayer::new(3);
        let hedge = HedgeLayer::learned().share(retry.handle().budget().clone());
        (DeadlineLayer::new(30 * SECOND), retry, hedge, DeadlineLayer::new(5 * SECOND))
    })
    .await;
}

/// Sweeps over a stack in which two tries are in flight at most drops.
#[tokio::test(start_paused = true)]
async fn dropped_call_leaves_nothing_behind_with_two_tries_in_flight() {
    for permits in [1, 2, 9] {
        let failures = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&failures);
        // Every other response is a failure.
        let probe = Probe::new(move |n: u32| match count.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => Err(BoxError::from("failure")),
            _ => Ok(n),
        });
        let probe = probe.permits(permits).pausing(4);
        let budget = Budget::over(SECOND, Ratio::ZERO, 10_000);
        let (layer, balance) =
            (HedgeLayer::after(Duration::ZERO).at_most(2).budget(budget.clone()), budget.balance());
        let stack = ServiceBuilder::new()
            .layer(DeadlineLayer::new(30 * SECOND))
            .layer(layer.clone().after_failures())
            .layer(DeadlineLayer::new(5 * SECOND))
            .service(probe.clone());
        let drops = sweep(|| stack.clone().oneshot(1)).over(&probe).await;
        assert!(drops > 5, "{drops}");
        let handle = layer.handle();
        if permits > 1 {
            assert!(handle.sent() > 5, "{handle:?}");
        }
        assert_eq!(balance.unwrap_or(0) - budget.balance().unwrap_or(0), handle.sent());
    }
}

/// A hedge in each state: due, waiting for readiness, in flight beside the first try, and alone.
#[tokio::test(start_paused = true)]
async fn call_that_is_dropped_at_any_time_leaves_nothing_behind() {
    for millis in 0..120 {
        let alive = Arc::new(());
        let count = Arc::clone(&alive);
        let service = ServiceBuilder::new()
            .layer(HedgeLayer::after(20 * MS).at_most(3).budget(Budget::unlimited()))
            .concurrency_limit(3)
            .service(service_fn(move |_: u32| {
                let alive = Arc::clone(&count);
                async move {
                    sleep(if Attempt::current().is_spare() { 70 * MS } else { 50 * MS }).await;
                    drop(alive);
                    Err::<u32, BoxError>("failed".into())
                }
            }));
        let call = service.clone().oneshot(1);
        let _ = tokio::time::timeout(millis * MS, call).await;
        assert_eq!(Arc::strong_count(&alive), 2, "after {millis} ms");
        let permits = [service.clone(), service.clone(), service.clone()];
        for mut permit in permits {
            assert!(futures_ready(&mut permit).await, "after {millis} ms");
        }
    }
}

/// Whether the service is ready at once.
async fn futures_ready<S: tower::Service<u32>>(service: &mut S) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(service.poll_ready(cx).is_ready())).await
}
