//! The counters of all layers under load, read from another thread.

#![expect(clippy::disallowed_methods, reason = "tests spawn what a user would")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use buttress::{
    Backoff, BoxError, Budget, DeadlineLayer, DedupLayer, FallbackLayer, HedgeLayer, OrderLayer,
    RetryLayer, ThrottleLayer,
    breaker::BreakerLayer,
    layer_api::{Measure, MetricValue, Reading},
};
use tokio::time::sleep;
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// The counters of a handle, by name and label.
type Counts = BTreeMap<(&'static str, &'static str), u64>;

fn counts(handle: &dyn Measure) -> Counts {
    let mut counts = Counts::new();
    handle.measure(&mut |reading: Reading<'_>| {
        if let MetricValue::Count(count) = reading.value() {
            let label = reading.label().map_or("", |(_, value)| value);
            counts.insert((reading.metric().name(), label), count);
        }
    });
    counts
}

fn assert_never_fall(earlier: &Counts, later: &Counts) {
    for (which, count) in earlier {
        let now = later.get(which).copied().unwrap_or_default();
        assert!(now >= *count, "{which:?} fell from {count} to {now}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_never_fall_while_calls_run() {
    let ms = Duration::from_millis(1);
    let fallback = FallbackLayer::value(7);
    let (deadline, dedup) = (DeadlineLayer::new(20 * ms), DedupLayer::new());
    let (order, retry) = (OrderLayer::serial(|n: &u32| Some(n % 7)).queue(3), RetryLayer::new(3));
    let retry = retry.backoff(Backoff::none());
    let hedge = HedgeLayer::after(ms).budget(Budget::unlimited());
    let breaker = BreakerLayer::new().keyed(|n: &u32| Some(n % 5)).window(20 * ms);
    let throttle = ThrottleLayer::concurrency(4).queue(4).keyed(|n: &u32| Some(n % 3)).max_keys(16);
    let handles: Vec<Arc<dyn Measure>> = vec![
        Arc::new(fallback.handle()),
        Arc::new(deadline.handle()),
        Arc::new(dedup.handle()),
        Arc::new(order.handle()),
        Arc::new(retry.handle()),
        Arc::new(hedge.handle()),
        Arc::new(breaker.handle()),
        Arc::new(throttle.handle()),
    ];
    let outer = ServiceBuilder::new().layer(fallback).layer(deadline).layer(dedup).layer(order);
    let work = |n: u32| async move {
        if n % 11 < 9 {
            sleep(Duration::from_micros(u64::from(n % 50))).await;
        }
        if n.is_multiple_of(3) { Err(BoxError::from("failed")) } else { Ok(n) }
    };
    let inner = ServiceBuilder::new().layer(hedge).layer(breaker).layer(throttle);
    let stack = outer.layer(retry).layer(inner).service(service_fn(work)).boxed_clone();
    let calls = (0..8).map(|_| {
        let stack = stack.clone();
        tokio::spawn(async move {
            for n in 0..2_000 {
                let _ = stack.clone().oneshot(n).await;
            }
        })
    });
    let calls: Vec<_> = calls.collect();
    let reader = std::thread::spawn(move || {
        let mut former: Vec<_> = handles.iter().map(|handle| counts(&**handle)).collect();
        while !calls.iter().all(tokio::task::JoinHandle::is_finished) {
            for (former, handle) in former.iter_mut().zip(&handles) {
                let now = counts(&**handle);
                assert_never_fall(former, &now);
                *former = now;
            }
        }
        former.iter().map(|counts| counts.values().sum::<u64>()).min()
    });
    let least = tokio::task::spawn_blocking(|| reader.join()).await.unwrap().unwrap();
    assert!(least.is_some_and(|least| least > 0), "each layer has counted");
}
