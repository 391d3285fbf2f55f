//! The learned delay, and its effect on the tail.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buttress_control::Random;
use buttress_core::{Attempt, BoxError};
use buttress_hedge::{Budget, HedgeHandle, HedgeLayer, Ratio};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{MS, SECOND, script};

/// Makes this many calls of `latency`, one after the other.
async fn calls(layer: &HedgeLayer, calls: u32, latency: Duration) {
    for _ in 0..calls {
        let upstream = script().delay(latency).ok(1).service();
        layer.layer(upstream).oneshot(1).await.unwrap();
    }
}

/// Whether the delay is `exact`, or up to an eighth longer.
fn is_about(handle: &HedgeHandle, exact: Duration) -> bool {
    handle.delay().is_some_and(|delay| delay >= exact && delay <= exact * 9 / 8)
}

/// HG-07.
#[tokio::test(start_paused = true)]
async fn no_hedge_is_sent_before_the_quantile_is_known() {
    let layer = HedgeLayer::learned().budget(Budget::unlimited());
    let handle = layer.handle();
    // 100 ms each: the first sample comes at 100 ms, and the halves change at 3.1 s.
    calls(&layer, 29, 100 * MS).await;
    assert_eq!(handle.delay(), None);
    let upstream = script().delay(20 * SECOND).ok(1).service();
    layer.layer(upstream.clone()).oneshot(1).await.unwrap();
    assert_eq!((upstream.calls(), handle.sent()), (1, 0));
    assert_eq!(handle.delay(), None, "30 samples do not suffice");
    calls(&layer, 20, 100 * MS).await;
    assert!(is_about(&handle, 100 * MS), "{handle:?}");
    let upstream = script().hang().ok(2).service();
    let start = Instant::now();
    assert_eq!(layer.layer(upstream).oneshot(1).await.unwrap(), 2);
    assert!(start.elapsed() <= 115 * MS);
}

#[tokio::test(start_paused = true)]
async fn delay_is_at_least_the_least() {
    let layer = HedgeLayer::learned();
    calls(&layer, 3200, MS).await;
    assert_eq!(layer.handle().delay(), Some(10 * MS));
    let layer = HedgeLayer::at(Ratio::percent(95), Duration::ZERO);
    calls(&layer, 3200, MS).await;
    assert!(is_about(&layer.handle(), MS), "{layer:?}");
}

#[tokio::test(start_paused = true)]
async fn learned_delay_counts_from_the_call() {
    let layer = HedgeLayer::learned().budget(Budget::unlimited());
    calls(&layer, 60, 100 * MS).await;
    let upstream = script().hang().ok(2).service();
    let mut service = layer.layer(upstream);
    let call = service.ready().await.unwrap().call(1);
    sleep(SECOND).await;
    let start = Instant::now();
    assert_eq!(call.await.unwrap(), 2);
    assert!(start.elapsed() <= MS, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn quantile_beyond_the_histogram_sends_no_hedge() {
    let layer = HedgeLayer::learned().budget(Budget::unlimited());
    calls(&layer, 60, 130 * SECOND).await;
    assert_eq!(layer.handle().delay(), None);
    let upstream = script().delay(3600 * SECOND).ok(1).service();
    layer.layer(upstream.clone()).oneshot(1).await.unwrap();
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn quantile_of_zero_is_a_fixed_delay() {
    let layer = HedgeLayer::at(Ratio::ZERO, 30 * MS).budget(Budget::unlimited());
    assert_eq!(layer.handle().delay(), Some(30 * MS));
    let upstream = script().hang().ok(2).service();
    assert_eq!(layer.layer(upstream).oneshot(1).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn quantile_above_all_counts_as_all() {
    let layer = HedgeLayer::at(Ratio::percent(300), Duration::ZERO);
    calls(&layer, 1, 700 * MS).await;
    calls(&layer, 60, 50 * MS).await;
    assert!(is_about(&layer.handle(), 700 * MS), "{layer:?}");
}

#[tokio::test(start_paused = true)]
async fn failures_are_no_samples() {
    let layer = HedgeLayer::learned();
    for _ in 0..200 {
        let upstream = script().delay(20 * MS).answer(|_| Err("failed".into())).service();
        layer.layer(upstream).oneshot(1).await.unwrap_err();
    }
    calls(&layer, 49, 100 * MS).await;
    assert_eq!(layer.handle().delay(), None);
    calls(&layer, 2, 100 * MS).await;
    assert!(is_about(&layer.handle(), 100 * MS), "{layer:?}");
}

/// tower records the latency of the winner, so its quantile falls as more is hedged.
#[tokio::test(start_paused = true)]
async fn quantile_does_not_fall_as_more_is_hedged() {
    // Three in ten of the first tries never end, and the others take 10 ms. Hedges take 1 ms.
    let layer = HedgeLayer::at(Ratio::percent(90), Duration::ZERO).budget(Budget::unlimited());
    let handle = layer.handle();
    calls(&layer, 400, 100 * MS).await;
    let learned = handle.delay().unwrap();
    let random = Arc::new(Random::seeded(7));
    let service = layer.layer(service_fn(move |_: u32| {
        let is_hedge = Attempt::current().is_spare();
        let is_slow = !is_hedge && random.draw() < 0.3;
        async move {
            match (is_hedge, is_slow) {
                (true, _) => sleep(MS).await,
                (false, true) => std::future::pending().await,
                (false, false) => sleep(10 * MS).await,
            }
            Ok::<_, BoxError>(1)
        }
    }));
    for _ in 0..2000 {
        service.clone().oneshot(1).await.unwrap();
    }
    assert!(handle.sent() > 500, "{handle:?}");
    // The overtaken first tries count with the time until then, which is at least the delay.
    let delay = handle.delay().unwrap();
    assert!(delay >= learned, "{delay:?} of {learned:?}");
}

#[tokio::test(start_paused = true)]
async fn about_one_call_in_eight_is_a_sample_once_the_quantile_is_known() {
    let layer = HedgeLayer::at(Ratio::percent(50), Duration::ZERO);
    calls(&layer, 400, 10 * MS).await;
    assert!(is_about(&layer.handle(), 10 * MS));
    // The samples of the first 3 s leave with the next change. The change after needs 50 samples.
    let mut made = 0;
    while !is_about(&layer.handle(), 80 * MS) {
        calls(&layer, 1, 80 * MS).await;
        made += 1;
        assert!(made < 600, "{layer:?}");
    }
    assert!(made > 250, "{made} calls");
}

/// Calls often come in a fixed order. A sample must not always be the same call of it.
#[tokio::test(start_paused = true)]
async fn calls_in_a_fixed_order_are_sampled_alike() {
    let layer = HedgeLayer::at(Ratio::percent(50), Duration::ZERO);
    calls(&layer, 400, 10 * MS).await;
    for _ in 0..200 {
        calls(&layer, 1, 80 * MS).await;
        calls(&layer, 7, 10 * MS).await;
    }
    assert!(is_about(&layer.handle(), 10 * MS), "the median of the calls: {layer:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_between_skipped_ones_are_sampled() {
    let layer = HedgeLayer::at(Ratio::percent(50), Duration::ZERO);
    calls(&layer, 400, 10 * MS).await;
    let skipping = layer.clone().skip(|_: &u32| true);
    for _ in 0..1600 {
        skipping.layer(script().ok(1).service()).oneshot(1).await.unwrap();
        calls(&layer, 1, 80 * MS).await;
    }
    assert!(is_about(&layer.handle(), 80 * MS), "{layer:?}");
}

struct Load {
    latencies: Vec<Duration>,
    made: u64,
    calls: u64,
}

/// Makes 200 calls a second for a minute.
async fn load<S>(service: S, made: &AtomicU64, calls: u32) -> Load
where
    S: Service<u32, Response = u32, Error = BoxError, Future: Send + 'static>,
    S: Clone + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for _ in 0..calls {
        sleep(5 * MS).await;
        let service = service.clone();
        tasks.spawn(async move {
            let start = Instant::now();
            service.oneshot(1).await.unwrap();
            start.elapsed()
        });
    }
    let mut latencies = tasks.join_all().await;
    latencies.sort_unstable();
    Load { latencies, made: made.load(Ordering::Relaxed), calls: calls.into() }
}

impl Load {
    fn p99(&self) -> Duration {
        *self.latencies.get(self.latencies.len() * 99 / 100).unwrap()
    }
}

/// A service of 20 ms, of which this share of the calls takes ten times as long.
fn service(
    slow: f64,
    made: &Arc<AtomicU64>,
) -> impl Service<u32, Response = u32, Error = BoxError, Future: Send + 'static> + Clone + Send + 'static
{
    let (made, random) = (Arc::clone(made), Arc::new(Random::seeded(7)));
    service_fn(move |_: u32| {
        made.fetch_add(1, Ordering::Relaxed);
        // Between 18 and 22 ms.
        let usual = 18 * MS + (4 * MS).mul_f64(random.draw());
        let latency = if random.draw() < slow { 10 * usual } else { usual };
        async move {
            sleep(latency).await;
            Ok(1)
        }
    })
}

/// The P99 halves at 5 % more calls.
#[tokio::test(start_paused = true)]
async fn hedging_halves_a_tail_of_slow_calls_for_five_percent_more_calls() {
    const CALLS: u32 = 12_000;
    // A little more than 1 % of the calls, so that the P99 lies in the tail.
    let slow = 0.012;
    let made = Arc::default();
    let bare = load(service(slow, &made), &made, CALLS).await;
    let made = Arc::default();
    let layer = HedgeLayer::learned();
    let hedged = load(layer.layer(service(slow, &made)), &made, CALLS).await;
    assert!(bare.p99() > 150 * MS, "{:?}", bare.p99());
    assert!(hedged.p99() * 2 <= bare.p99(), "{:?} of {:?}", hedged.p99(), bare.p99());
    let extra = hedged.made - hedged.calls;
    assert_eq!(extra, layer.handle().sent());
    assert!(extra * 20 <= hedged.calls, "{extra} of {}", hedged.calls);
    assert!(layer.handle().won() * 2 >= u64::from(CALLS / 100), "{:?}", layer.handle());
}

/// The load of a service without a budget would double.
#[tokio::test(start_paused = true)]
async fn uniformly_slow_service_sees_at_most_five_percent_more_calls() {
    for layer in [HedgeLayer::learned(), HedgeLayer::after(10 * MS).at_most(5)] {
        let made = Arc::default();
        let load = load(layer.layer(service(1.0, &made)), &made, 4000).await;
        assert_eq!(load.made, load.calls + layer.handle().sent());
        assert!(load.made * 100 <= load.calls * 105, "{} of {}", load.made, load.calls);
    }
}
