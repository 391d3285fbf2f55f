//! The contract of a tower layer, and drops at every await, for whole stacks.

use std::time::Duration;

use buttress_core::{BoxError, Measure, MetricValue};
use buttress_stack::{
    Budget, Client, ClientHandle, DedupLayer, FallbackLayer, HedgeLayer, OrderLayer, RetryLayer,
    ThrottleLayer, client, client_for_aws, client_for_grpc, client_for_http, server,
};
use buttress_testkit::{Answer, Clause, Probe, contract, sweep};
use tower::ServiceExt;

/// A client whose circuit stays closed for the failures of the contract, three attempts each.
fn calm(client: Client) -> Client {
    client.edit_breaker(|breaker| breaker.consecutive(50))
}

#[tokio::test(start_paused = true)]
async fn every_preset_keeps_the_contract() {
    contract(|| calm(client())).await;
    contract(|| calm(client_for_http())).await;
    contract(|| calm(client_for_grpc())).await;
    contract(|| calm(client_for_aws())).await;
    contract(server).await;
}

#[tokio::test(start_paused = true)]
async fn client_without_dedup_keeps_the_contract_with_eight_places() {
    contract(|| {
        calm(client())
            .fallback(FallbackLayer::value(Answer(0)).when(|_| false))
            .order(OrderLayer::serial(|n: &u32| Some(n % 3)))
            .hedge(HedgeLayer::learned())
            .edit_throttle(|limit| limit.queue(48))
    })
    .await;
}

/// A dedup is always ready, so it hides the backpressure.
#[tokio::test(start_paused = true)]
async fn client_with_nine_places_keeps_the_contract() {
    contract(|| {
        calm(client())
            .fallback(FallbackLayer::value(Answer(0)).when(|_| false))
            .dedup(DedupLayer::new())
            .order(OrderLayer::serial(|n: &u32| Some(*n)))
            .hedge(HedgeLayer::learned())
            .throttle(ThrottleLayer::concurrency(2).queue(48))
    })
    .without(Clause::Backpressure)
    .await;
}

#[tokio::test(start_paused = true)]
async fn server_with_three_places_keeps_the_contract() {
    contract(|| {
        server()
            .order(OrderLayer::serial(|n: &u32| Some(n % 3)))
            .throttle(ThrottleLayer::concurrency(2).queue(48))
    })
    .await;
}

/// What is in use, of all layers: permits, queue places, keys, timers, running alternatives.
fn in_use(handle: &ClientHandle) -> Vec<(&'static str, f64)> {
    let mut in_use = Vec::new();
    handle.measure(&mut |reading| {
        let name = reading.metric().name();
        let is_gauge_of_use =
            ["in_flight", "queued", "waiters", "keys"].iter().any(|end| name.ends_with(end));
        if let (true, MetricValue::Gauge(number)) = (is_gauge_of_use, reading.value()) {
            in_use.push((name, number));
        }
    });
    in_use
}

/// CO-10.
#[tokio::test(start_paused = true)]
async fn call_that_is_dropped_at_any_await_leaves_nothing_behind_in_nine_places() {
    for fails in [false, true] {
        let probe =
            Probe::new(
                move |n: u32| {
                    if fails { Err(BoxError::from("down")) } else { Ok::<_, BoxError>(n) }
                },
            );
        let probe = probe.permits(1).pausing(2);
        let budget = Budget::unlimited();
        let client = client()
            .fallback(FallbackLayer::value(0))
            .dedup(DedupLayer::new())
            .order(OrderLayer::serial(|n: &u32| Some(*n)))
            .retry(RetryLayer::new(3))
            .hedge(HedgeLayer::after(Duration::ZERO).budget(budget.clone()))
            .edit_breaker(|breaker| {
                breaker.consecutive(u32::MAX).failures(buttress_control::Ratio::MAX, 1)
            })
            .throttle(ThrottleLayer::concurrency(1).queue(8))
            .budget(budget);
        let handle = client.handle();
        let service = client.service(probe.clone());
        let drops = sweep(|| service.clone().oneshot(1))
            .over(&probe)
            .also(|at| {
                for (name, number) in in_use(&handle) {
                    assert!(number.abs() < f64::EPSILON, "{name} is {number} {at}");
                }
            })
            .await;
        assert!(drops > 3, "{drops}");
    }
}
