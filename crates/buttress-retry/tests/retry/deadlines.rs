//! The deadline of a call, the timeout of an attempt, and attempts that would end late.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use buttress_core::{BoxError, Deadline, Rejection};
use buttress_deadline::DeadlineLayer;
use buttress_retry::{Budget, RetryLayer, StopReason};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{MS, NO_WAIT, calls, fixed, flaky, never_processed};

#[tokio::test(start_paused = true)]
async fn wait_that_would_reach_the_deadline_is_not_begun() {
    // Of 100 ms, 90 are spent. A delay of 20 ms stops the call. A delay of 5 ms leaves 5 ms.
    for (delay, calls_made, took) in [(20, 1, 90), (5, 2, 100)] {
        let count = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&count);
        let slow = service_fn(move |_: u32| {
            seen.fetch_add(1, Ordering::Relaxed);
            async {
                sleep(90 * MS).await;
                Err::<u32, _>(BoxError::from("slow"))
            }
        });
        let layer = RetryLayer::new(3).backoff(fixed(delay * MS));
        let service = ServiceBuilder::new()
            .layer(DeadlineLayer::new(100 * MS))
            .layer(layer.clone())
            .service(slow);
        let start = Instant::now();
        let error = service.oneshot(0).await.unwrap_err();
        assert_eq!(count.load(Ordering::Relaxed), calls_made);
        assert_eq!(start.elapsed().as_millis(), took);
        let stopped = layer.handle().stopped(StopReason::Deadline);
        assert_eq!(stopped, u64::from(delay == 20));
        assert_eq!(Rejection::find(&error).is_none(), delay == 20, "the last outcome, unchanged");
    }
}

#[tokio::test(start_paused = true)]
async fn late_attempt_is_skipped_under_skip_late_attempts() {
    // 80 ms are left, the delay is 10 ms, and attempts usually take 200 ms.
    let fail = Arc::new(AtomicUsize::new(0));
    let mode = Arc::clone(&fail);
    let layer = RetryLayer::new(3).backoff(fixed(10 * MS)).skip_late_attempts();
    let service = layer.layer(service_fn(move |_: u32| {
        let fail = mode.load(Ordering::Relaxed) == 1;
        async move {
            if fail {
                return Err(BoxError::from("fast failure"));
            }
            sleep(200 * MS).await;
            Ok(0)
        }
    }));
    service.clone().oneshot(0).await.unwrap();
    fail.store(1, Ordering::Relaxed);
    let start = Instant::now();
    Deadline::after(80 * MS).around(service.oneshot(0)).await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(layer.handle().stopped(StopReason::CannotFinish), 1);
}

#[tokio::test(start_paused = true)]
async fn unlimited_attempts_end_with_the_deadline() {
    let (service, log) = flaky(u32::MAX);
    let layer = RetryLayer::new(u32::MAX).backoff(fixed(100 * MS)).budget(Budget::unlimited());
    let start = Instant::now();
    let call = Deadline::after(Duration::from_secs(5)).around(layer.layer(service).oneshot(0));
    call.await.unwrap_err();
    assert_eq!(start.elapsed().as_millis(), 4900);
    assert_eq!(calls(&log), 50);
}

#[tokio::test(start_paused = true)]
async fn attempt_timeout_is_repeated_and_the_callers_deadline_is_not() {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    let layer = RetryLayer::new(10).backoff(NO_WAIT);
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(250 * MS).named("call"))
        .layer(layer.clone())
        .layer(DeadlineLayer::new(100 * MS).named("attempt"))
        .service(service_fn(move |_: u32| {
            seen.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<Result<u32, BoxError>>()
        }));
    let start = Instant::now();
    service.oneshot(0).await.unwrap_err();
    assert_eq!(start.elapsed(), 250 * MS);
    assert_eq!(count.load(Ordering::Relaxed), 3);
    assert_eq!(layer.handle().retries(), 2);
}

#[tokio::test(start_paused = true)]
async fn deadline_at_the_call_holds_on_any_task_that_polls_the_future() {
    let (service, log) = flaky(u32::MAX);
    let mut service = RetryLayer::new(9).backoff(fixed(100 * MS)).layer(service);
    let limit = Deadline::after(150 * MS);
    service.ready().await.unwrap();
    let future = Deadline::with(Some(limit), || service.call(0));
    tokio::spawn(future).await.unwrap().unwrap_err();
    assert_eq!(calls(&log), 2);
}

#[tokio::test(start_paused = true)]
async fn free_attempt_does_not_begin_after_the_deadline() {
    let layer = RetryLayer::new(3).classify(never_processed);
    let service = ServiceBuilder::new().layer(DeadlineLayer::new(100 * MS)).layer(layer.clone());
    let service = service.service_fn(|_: u32| async {
        sleep(100 * MS).await;
        Err(BoxError::from("refused"))
    });
    assert_eq!(service.oneshot(0).await.unwrap_err().to_string(), "refused");
    assert_eq!(layer.handle().retries(), 0);
}
