//! The metrics of a client of all layers, after 1,000 calls that were dropped in head or body.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

#[path = "callers.rs"]
mod callers;
#[path = "tally.rs"]
mod tally;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use buttress::{
    Backoff, BoxError, Budget, DeadlineLayer, DedupLayer, FallbackLayer, HedgeLayer, HttpExt,
    OrderLayer, Queue, Ratio, RetryLayer, ThrottleLayer,
    breaker::BreakerLayer,
    layer_api::{Measure, MetricValue},
};
use buttress_testkit::simulate;
use bytes::Bytes;
use callers::{Call, Dice, MS, drop_calls, serve};
use http::{Response, StatusCode};
use http_body_util::Full;
use tally::{Tallied, TallyLayer};
use tokio::time::sleep;
use tower::{ServiceBuilder, ServiceExt, service_fn};

fn shard(call: &Call) -> Option<u8> {
    call.uri().path().bytes().last().map(|last| last % 8)
}

/// The counters of a layer by the last part of their name, summed over their label.
type Counts = BTreeMap<&'static str, u64>;

fn counts(handle: &dyn Measure) -> Counts {
    let mut counts = Counts::new();
    handle.measure(&mut |reading| {
        let name = reading.metric().name().rsplit('.').next().unwrap();
        match reading.value() {
            MetricValue::Count(count) => *counts.entry(name).or_default() += count,
            MetricValue::Gauge(gauge) if EMPTY.contains(&name) => {
                assert!(gauge.abs() < 0.5, "{gauge} in {:?}", reading.metric());
            }
            _ => {}
        }
    });
    counts
}

/// The gauges that are 0 while no call runs.
const EMPTY: [&str; 4] = ["in_flight", "queued", "waiters", "keys"];

/// An alternative service that takes its time too, and fails at times.
async fn substitute(dice: Dice) -> Result<Response<Full<Bytes>>, BoxError> {
    sleep(dice.roll(20) * MS).await;
    let mut response = Response::new(Full::new(Bytes::new()));
    if dice.roll(4) == 0 {
        *response.status_mut() = StatusCode::BAD_GATEWAY;
    }
    Ok(response)
}

#[test]
fn gauges_return_to_zero_and_each_layer_accounts_for_its_calls() {
    let mut sum: [Counts; 9] = Default::default();
    for seed in 0..4 {
        let ((ended, tallies), _) = simulate(seed, async || drop_a_thousand(seed).await);
        assert_balanced(&ended, &tallies);
        for (sum, ended) in sum.iter_mut().zip(ended) {
            for (name, count) in ended {
                *sum.entry(name).or_default() += count;
            }
        }
    }
    assert_varied(&sum);
}

/// Drops the calls of a client of all layers. Returns the counters of its layers, and those between.
async fn drop_a_thousand(seed: u64) -> ([Counts; 9], [Tallied; 10]) {
    let dice = Dice::seeded(seed);
    let (first, second) = (dice.clone(), dice.clone());
    let upstream = service_fn(move |_: Call| serve(first.clone()));
    let alternative = service_fn(move |_: Call| substitute(second.clone()));
    let fallback = FallbackLayer::service(alternative).at_most(2);
    let (deadline, attempt) = (DeadlineLayer::new(80 * MS), DeadlineLayer::new(45 * MS));
    let dedup = DedupLayer::new();
    let order = OrderLayer::serial(shard).queue(2);
    let retry = RetryLayer::new(3).backoff(Backoff::constant(5 * MS)).seed(7);
    let retry = retry.budget(Budget::unlimited());
    let hedge = HedgeLayer::after(15 * MS).budget(Budget::unlimited());
    let breaker = BreakerLayer::new().failures(Ratio::percent(50), 10).window(200 * MS).seed(7);
    let breaker = breaker.open_for(Backoff::constant(20 * MS)).probes(2, 1).ramp(MS, &[]);
    let throttle = ThrottleLayer::concurrency(5).queue(Queue::new(2).max_wait(30 * MS)).seed(7);
    let handles: [Arc<dyn Measure>; 9] = [
        Arc::new(fallback.handle()),
        Arc::new(deadline.handle()),
        Arc::new(dedup.handle()),
        Arc::new(order.handle()),
        Arc::new(retry.handle()),
        Arc::new(hedge.handle()),
        Arc::new(breaker.handle()),
        Arc::new(throttle.handle()),
        Arc::new(attempt.handle()),
    ];
    let tallies: [TallyLayer; 10] = std::array::from_fn(|_| TallyLayer::default());
    let [t0, t1, t2, t3, t4, t5, t6, t7, t8, t9] = tallies.clone();
    let inner = ServiceBuilder::new()
        .layer(t4)
        .layer(retry.http())
        .layer(t5)
        .layer(hedge.http())
        .layer(t6)
        .layer(breaker.http())
        .layer(t7)
        .layer(throttle.http())
        .layer(t8)
        .layer(attempt.http())
        .layer(t9)
        .service(upstream);
    let stack = ServiceBuilder::new()
        .layer(t0)
        .layer(fallback.http())
        .layer(t1)
        .layer(deadline.http())
        .layer(t2)
        .layer(dedup.http())
        .layer(t3)
        .layer(order.http())
        .service(inner)
        .boxed_clone();
    let calls = drop_calls(stack, &dice).await;
    sleep(Duration::from_secs(60)).await;
    let ended = handles.map(|handle| counts(&*handle));
    assert!(calls >= 1000);
    (ended, tallies.map(|tally| tally.0.counts()))
}

/// The calls that began outside of a layer are those inside, and those that ended in the layer.
fn assert_balanced(ended: &[Counts; 9], tallies: &[Tallied; 10]) {
    let [fallback, deadline, dedup, order, retry, hedge, breaker, throttle, attempt] = ended;
    let [t0, t1, t2, t3, t4, t5, t6, t7, t8, t9] = tallies;
    assert_eq!(t0.begun, t0.served + t0.failed + t0.dropped);
    assert_eq!((t0.begun, t1.begun), (fallback["calls"], fallback["calls"]));
    let asked = fallback["answered"] + fallback["failed"] + fallback["full"];
    assert_eq!(t1.failed, asked + (t0.dropped - t1.dropped));
    assert_eq!(t1.begun, deadline["calls"]);
    assert_eq!(deadline["rejected"], deadline["exceeded"] + deadline["expired"]);
    assert_eq!(t2.begun, deadline["calls"] - deadline["expired"]);
    assert_eq!(t2.begun, dedup["calls"]);
    assert_eq!(t3.begun, dedup["leaders"] + dedup["bypassed"]);
    assert_eq!(t3.begun, order["calls"]);
    let left_the_queue = t3.dropped - t4.dropped;
    assert_eq!(t4.begun, order["calls"] - order["rejected"] - left_the_queue);
    assert_eq!(order["rejected"], order["full"] + order["expired"]);
    assert_eq!((t4.begun, t4.failed), (retry["calls"], retry["stopped"]));
    assert_eq!(t5.begun, retry["calls"] + retry["retries"]);
    assert_eq!((t5.begun, t6.begun), (hedge["calls"], hedge["calls"] + hedge["sent"]));
    assert_eq!(t6.begun, t7.begun + breaker["rejected"] + breaker["spare_refused"]);
    let refused = throttle["rejected"] + throttle["spare_refused"] + throttle["abandoned"];
    assert_eq!(t7.begun, throttle["admitted"] + refused);
    assert_eq!((t8.begun, t8.begun), (throttle["admitted"], attempt["calls"]));
    assert_eq!(t9.begun, attempt["calls"] - attempt["expired"]);
}

/// Each way to end was taken.
fn assert_varied(ended: &[Counts; 9]) {
    let taken: [&[&str]; 9] = [
        &["answered", "failed", "full"],
        &["exceeded"],
        &["leaders", "followers", "bypassed", "handovers"],
        &["full", "expired"],
        &["retries", "stopped"],
        &["sent", "won", "refused", "withheld"],
        &["opened", "rejected", "spare_refused"],
        &["admitted", "rejected", "spare_refused", "abandoned"],
        &["exceeded"],
    ];
    for (layer, counters) in ended.iter().zip(taken) {
        assert!(counters.iter().all(|counter| layer[counter] > 0), "{counters:?} of {layer:?}");
    }
}
