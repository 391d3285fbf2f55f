//! Live settings: the timeout changes while calls run.

use std::time::Duration;

use buttress_deadline::DeadlineLayer;
use tokio::time::{Instant, advance};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{MS, answer, poll_once, rejected};

#[tokio::test(start_paused = true)]
async fn set_timeout_holds_for_later_calls_and_a_running_call_keeps_its_deadline() {
    let layer = DeadlineLayer::new(100 * MS);
    let handle = layer.handle();
    let mut service = layer.layer(service_fn(answer));
    let running = service.ready().await.unwrap().call(80);
    handle.set_timeout(10 * MS);
    assert_eq!(handle.timeout(), Some(10 * MS));
    let start = Instant::now();
    rejected(&service.clone().oneshot(20).await.unwrap_err());
    assert_eq!(start.elapsed(), 10 * MS);
    assert_eq!(running.await.unwrap(), Some(90 * MS), "100 ms from its own start");
}

#[tokio::test(start_paused = true)]
async fn set_timeout_reaches_clones_and_not_sibling_layers() {
    let layer = DeadlineLayer::new(100 * MS);
    let (clone, sibling) = (layer.clone(), DeadlineLayer::new(100 * MS));
    let service = clone.named("clone").layer(service_fn(answer));
    layer.handle().set_timeout(10 * MS);
    assert_eq!(service.handle().timeout(), Some(10 * MS));
    assert_eq!(service.oneshot(0).await.unwrap(), Some(10 * MS));
    assert_eq!(sibling.handle().timeout(), Some(100 * MS));
    assert_eq!(sibling.layer(service_fn(answer)).oneshot(0).await.unwrap(), Some(100 * MS));
}

#[tokio::test(start_paused = true)]
async fn wait_for_readiness_keeps_the_deadline_that_it_began_with() {
    let layer = DeadlineLayer::new(100 * MS);
    let limited = tower::limit::ConcurrencyLimit::new(service_fn(answer), 1);
    let mut holder = limited.clone();
    holder.ready().await.unwrap();
    let mut service = layer.layer(limited);
    let start = Instant::now();
    let mut ready = std::pin::pin!(service.ready());
    assert!(poll_once(ready.as_mut()).await.is_pending());
    layer.handle().set_timeout(500 * MS);
    rejected(&ready.await.unwrap().call(0).await.unwrap_err());
    assert_eq!(start.elapsed(), 100 * MS);
    drop(holder);
    assert_eq!(service.oneshot(0).await.unwrap(), Some(500 * MS));
}

#[tokio::test(start_paused = true)]
async fn set_timeout_takes_every_value_that_the_layer_takes() {
    let layer = DeadlineLayer::propagate();
    let handle = layer.handle();
    let service = layer.layer(service_fn(answer));
    assert_eq!(handle.timeout(), None);
    handle.set_timeout(Duration::ZERO);
    rejected(&service.clone().oneshot(0).await.unwrap_err());
    handle.set_timeout(Duration::from_nanos(1_999_999_999));
    assert_eq!(
        service.clone().oneshot(0).await.unwrap(),
        Some(Duration::from_nanos(1_999_999_999))
    );
    for never in [None, Some(Duration::MAX)] {
        handle.set_timeout(never);
        assert_eq!(handle.timeout(), None);
        assert_eq!(service.clone().oneshot(86_400_000).await.unwrap(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn per_service_layer_gives_later_services_its_timeout_of_that_time() {
    let layer = DeadlineLayer::new(100 * MS).per_service();
    let first = layer.layer(service_fn(answer));
    layer.handle().set_timeout(50 * MS);
    let second = layer.layer(service_fn(answer));
    second.handle().set_timeout(20 * MS);
    let third = layer.layer(service_fn(answer));
    for (service, timeout) in [(first, 100), (second, 20), (third, 50)] {
        assert_eq!(service.oneshot(0).await.unwrap(), Some(timeout * MS));
        advance(MS).await;
    }
}
