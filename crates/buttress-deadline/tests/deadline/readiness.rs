//! The deadline of a wait for readiness.

use std::pin::pin;

use buttress_deadline::DeadlineLayer;
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};

use crate::support::{MS, answer, poll_once, poll_ready_once, rejected};

#[tokio::test(start_paused = true)]
async fn deadline_covers_the_wait_for_a_full_inner_limiter() {
    // In tower, a timeout of 1 s over a full limiter returned `Ok` after 30 s.
    let limited = ServiceBuilder::new()
        .layer(DeadlineLayer::new(1000 * MS))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(service_fn(answer));
    let mut holder = pin!(limited.clone().oneshot(30_000));
    assert!(poll_once(holder.as_mut()).await.is_pending());
    let start = Instant::now();
    rejected(&limited.oneshot(0).await.unwrap_err());
    assert_eq!(start.elapsed(), 1000 * MS);
}

#[tokio::test(start_paused = true)]
async fn expired_handle_gives_the_inner_permit_to_another_handle() {
    let layer = ServiceBuilder::new()
        .layer(DeadlineLayer::new(100 * MS))
        .layer(ConcurrencyLimitLayer::new(1));
    let mut holder = layer.service(service_fn(answer));
    let mut idle = holder.clone();
    let mut stranger = holder.clone();
    let held = holder.ready().await.unwrap().call(50);
    assert!(poll_ready_once(&mut idle).await.is_pending());
    sleep(200 * MS).await;
    // The permit went to the idle handle, whose wait has expired all the same.
    rejected(&held.await.map(|_| ()).unwrap_err());
    assert!(poll_ready_once(&mut idle).await.is_ready());
    rejected(&idle.call(0).await.unwrap_err());
    assert!(stranger.ready().await.unwrap().call(0).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn wait_for_readiness_counts_towards_the_timeout() {
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(100 * MS))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(service_fn(answer));
    let first = tokio::spawn(service.clone().oneshot(60));
    tokio::task::yield_now().await;
    let left = service.oneshot(0).await.unwrap();
    assert_eq!(left, Some(40 * MS));
    first.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn handle_that_waited_once_gives_later_calls_the_whole_timeout() {
    let mut service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(100 * MS))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(service_fn(answer));
    let other = tokio::spawn(service.clone().oneshot(60));
    tokio::task::yield_now().await;
    assert!(service.ready().await.is_ok());
    other.await.unwrap().unwrap();
    sleep(3_600_000 * MS).await;
    let left = service.ready().await.unwrap().call(0).await.unwrap();
    assert_eq!(left, Some(100 * MS));
}
