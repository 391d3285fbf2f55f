//! Handles, snapshots, and the options that decide which services share them.

use std::pin::pin;

use buttress_core::Deadline;
use buttress_deadline::{DeadlineHandle, DeadlineLayer, DeadlineService, DeadlineSnapshot, Ratio};
use buttress_testkit::counts;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};

use crate::support::{MS, answer, poll_once, rejected};

/// A layer with a deadline of 100 ms, and its handle.
fn layer_of_100_ms() -> (DeadlineLayer, DeadlineHandle) {
    let layer = DeadlineLayer::new(100 * MS);
    let handle = layer.handle();
    (layer, handle)
}

#[tokio::test(start_paused = true)]
async fn snapshot_counts_each_call_once_by_its_end() {
    let (layer, handle) = layer_of_100_ms();
    let service = layer.layer(service_fn(answer));
    service.clone().oneshot(0).await.unwrap();
    service.clone().oneshot(200).await.unwrap_err();
    let late = Deadline::at(Instant::now()).around(service.clone().oneshot(0));
    late.await.unwrap_err();
    let expected = counts!(DeadlineSnapshot { calls: 3, expired: 1, exceeded: 1, rejected: 2 });
    assert_eq!(handle.snapshot(), expected);
    let mut running = pin!(service.oneshot(50));
    assert!(poll_once(running.as_mut()).await.is_pending());
    let (calls, in_flight) = (handle.snapshot().calls, handle.snapshot().in_flight);
    assert_eq!(calls, handle.calls());
    assert_eq!(in_flight, handle.in_flight());
    assert_eq!(calls, 4);
    assert_eq!(in_flight, 1);
}

#[tokio::test(start_paused = true)]
async fn call_rejected_after_its_readiness_expired_counts_as_exceeded() {
    let (layer, handle) = layer_of_100_ms();
    let limited = layer.layer(ConcurrencyLimitLayer::new(1).layer(service_fn(answer)));
    let mut holder = pin!(limited.clone().oneshot(99));
    assert!(poll_once(holder.as_mut()).await.is_pending());
    sleep(50 * MS).await;
    let waiting = Deadline::after(10 * MS).around(limited.oneshot(0));
    waiting.await.unwrap_err();
    holder.await.unwrap();
    let expected = counts!(DeadlineSnapshot { calls: 2, exceeded: 1, rejected: 1 });
    assert_eq!(handle.snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn served_late_call_is_not_rejected_until_it_exceeds_its_own_timeout() {
    let layer = DeadlineLayer::new(100 * MS).max_reject_ratio(Ratio::percent(0));
    let handle = layer.handle();
    let service = layer.layer(service_fn(answer));
    let late = |delay| Deadline::at(Instant::now()).around(service.clone().oneshot(delay));
    late(0).await.unwrap();
    let expected = counts!(DeadlineSnapshot { calls: 1, expired: 1, served_late: 1 });
    assert_eq!(handle.snapshot(), expected);
    late(200).await.unwrap_err();
    assert_eq!(handle.served_late(), 2);
    assert_eq!(handle.rejected(), 1);
}

#[tokio::test(start_paused = true)]
async fn observed_call_counts_as_rejected_once_when_it_is_late_and_slow() {
    let layer = DeadlineLayer::new(100 * MS).observe();
    let service = layer.layer(service_fn(answer));
    Deadline::at(Instant::now()).around(service.oneshot(200)).await.unwrap();
    let expected = counts!(DeadlineSnapshot { calls: 1, expired: 1, rejected: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn handle_of_a_service_reads_the_counters_of_the_layer() {
    let (layer, handle) = layer_of_100_ms();
    let service = layer.layer(service_fn(answer));
    let of_service = service.handle();
    service.oneshot(200).await.unwrap_err();
    assert_eq!(of_service.snapshot(), handle.snapshot());
    assert_eq!(handle.exceeded(), 1);
}

#[tokio::test(start_paused = true)]
async fn per_service_gives_each_service_counters_of_its_own() {
    let layer = DeadlineLayer::new(100 * MS).per_service();
    let (slow, quick) = (layer.layer(service_fn(answer)), layer.layer(service_fn(answer)));
    slow.clone().oneshot(200).await.unwrap_err();
    slow.clone().clone().oneshot(0).await.unwrap();
    quick.clone().oneshot(0).await.unwrap();
    let slow_counts = counts!(DeadlineSnapshot { calls: 2, exceeded: 1, rejected: 1 });
    assert_eq!(slow.handle().snapshot(), slow_counts);
    assert_eq!(quick.handle().snapshot(), counts!(DeadlineSnapshot { calls: 1 }));
    assert_eq!(layer.handle().snapshot(), DeadlineSnapshot::default());
}

#[tokio::test(start_paused = true)]
async fn per_service_gives_each_service_late_rejections_of_its_own() {
    let layer = DeadlineLayer::propagate().max_reject_ratio(Ratio::percent(50)).per_service();
    let (busy, idle) = (layer.layer(service_fn(answer)), layer.layer(service_fn(answer)));
    for _ in 0..2 {
        busy.clone().oneshot(0).await.unwrap();
    }
    let late = |service: &DeadlineService<_>| {
        Deadline::at(Instant::now()).around(service.clone().oneshot(0))
    };
    assert!(late(&idle).await.is_ok());
    assert!(late(&busy).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn options_never_change_a_sibling() {
    let (layer, handle) = layer_of_100_ms();
    let sibling = layer.clone();
    let _ = layer.named("other").per_service().observe().max_reject_ratio(Ratio::ZERO);
    let error = sibling.layer(service_fn(answer)).oneshot(200).await.unwrap_err();
    assert_eq!(rejected(&error).origin().name(), "deadline");
    assert_eq!(handle.snapshot(), sibling.handle().snapshot());
    assert_eq!(handle.exceeded(), 1);
}
