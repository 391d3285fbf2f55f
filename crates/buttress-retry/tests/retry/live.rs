//! Live settings: attempts and backoff change while calls run.

use buttress_retry::{Backoff, RetryLayer, StopCounts, StopReason};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt};

use crate::support::{MS, NO_WAIT, calls, fixed, flaky};

#[tokio::test(start_paused = true)]
async fn set_attempts_reaches_clones_and_not_sibling_layers() {
    let layer = RetryLayer::new(3).backoff(NO_WAIT);
    let (clone, sibling) = (layer.clone().named("clone"), RetryLayer::new(3).backoff(NO_WAIT));
    let (service, log) = flaky(u32::MAX);
    let service = clone.layer(service);
    layer.handle().set_attempts(2);
    assert_eq!((service.handle().attempts(), sibling.handle().attempts()), (2, 3));
    service.oneshot(0).await.unwrap_err();
    assert_eq!(calls(&log), 2);
    let (service, log) = flaky(u32::MAX);
    sibling.layer(service).oneshot(0).await.unwrap_err();
    assert_eq!(calls(&log), 3);
}

#[tokio::test(start_paused = true)]
async fn lower_number_of_attempts_ends_a_running_call_with_its_next_failure() {
    let layer = RetryLayer::new(5).backoff(fixed(100 * MS));
    let (service, log) = flaky(u32::MAX);
    let call = layer.layer(service).oneshot(0);
    let change = async {
        sleep(150 * MS).await;
        layer.handle().set_attempts(1);
    };
    // The second attempt has failed at 100 ms, and the call waits for the third.
    tokio::join!(call, change).0.unwrap_err();
    assert_eq!(calls(&log), 3);
    let stops = StopCounts::from([(StopReason::AttemptsUsed, 1)]);
    assert_eq!(layer.handle().snapshot().stopped, stops);
}

#[tokio::test(start_paused = true)]
async fn lowered_attempts_still_tell_an_outer_retry_that_a_call_has_tried() {
    let outer = RetryLayer::new(3).backoff(NO_WAIT);
    let inner = RetryLayer::new(5).backoff(fixed(100 * MS));
    let (service, log) = flaky(u32::MAX);
    let call = outer.layer(inner.layer(service)).oneshot(0);
    let change = async {
        sleep(50 * MS).await;
        inner.handle().set_attempts(1);
    };
    tokio::join!(call, change).0.unwrap_err();
    assert_eq!(calls(&log), 2);
    assert_eq!(outer.handle().stopped(StopReason::GaveUpBelow), 1);
}

#[tokio::test(start_paused = true)]
async fn raised_attempts_reach_a_running_call_unless_it_began_with_a_single_attempt() {
    for (began_with, attempts, reason) in
        [(2, 4, StopReason::AttemptsUsed), (1, 1, StopReason::NotReplayable)]
    {
        let layer = RetryLayer::new(began_with).backoff(NO_WAIT);
        let (service, log) = flaky(u32::MAX);
        let service = layer.layer(tower::service_fn(move |request| {
            let service = service.clone();
            async move {
                sleep(100 * MS).await;
                service.oneshot(request).await
            }
        }));
        let change = async {
            sleep(50 * MS).await;
            layer.handle().set_attempts(4);
        };
        tokio::join!(service.oneshot(0), change).0.unwrap_err();
        assert_eq!(calls(&log), attempts);
        assert_eq!(layer.handle().stopped(reason), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn zero_attempts_make_a_single_attempt() {
    let layer = RetryLayer::new(0);
    assert_eq!(layer.handle().attempts(), 1);
    layer.handle().set_attempts(3);
    layer.handle().set_attempts(0);
    assert_eq!(layer.handle().attempts(), 1);
    let (service, log) = flaky(u32::MAX);
    layer.layer(service).oneshot(0).await.unwrap_err();
    assert_eq!(calls(&log), 1);
}

#[tokio::test(start_paused = true)]
async fn set_backoff_holds_for_the_next_wait_of_a_running_call() {
    let layer = RetryLayer::new(3).backoff(fixed(100 * MS));
    let handle = layer.handle();
    let (service, _) = flaky(u32::MAX);
    let start = Instant::now();
    let change = async {
        sleep(50 * MS).await;
        handle.set_backoff(fixed(1000 * MS));
    };
    tokio::join!(layer.layer(service).oneshot(0), change).0.unwrap_err();
    assert_eq!(start.elapsed(), 1100 * MS, "the first wait stays, the second is new");
    assert_eq!(handle.backoff(), fixed(1000 * MS));
}

#[tokio::test(start_paused = true)]
async fn backoff_option_starts_fresh_state_with_the_attempts_of_that_time() {
    let layer = RetryLayer::new(3);
    let handle = layer.handle();
    handle.set_attempts(2);
    let other = layer.clone().backoff(NO_WAIT);
    handle.set_attempts(7);
    let (service, log) = flaky(u32::MAX);
    other.layer(service).oneshot(0).await.unwrap_err();
    assert_eq!(calls(&log), 2);
    assert_eq!((handle.calls(), handle.backoff()), (0, Backoff::default()));
    assert_eq!((other.handle().calls(), other.handle().backoff()), (1, NO_WAIT));
}

#[tokio::test(start_paused = true)]
async fn per_service_layer_gives_later_services_its_settings_of_that_time() {
    let layer = RetryLayer::new(3).backoff(NO_WAIT).per_service();
    let first = layer.layer(flaky(u32::MAX).0);
    layer.handle().set_attempts(2);
    layer.handle().set_backoff(fixed(10 * MS));
    let second = layer.layer(flaky(u32::MAX).0);
    let of = |handle: buttress_retry::RetryHandle| (handle.attempts(), handle.backoff());
    assert_eq!(of(first.handle()), (3, NO_WAIT));
    assert_eq!(of(second.handle()), (2, fixed(10 * MS)));
    second.handle().set_attempts(9);
    assert_eq!(of(layer.handle()), (2, fixed(10 * MS)));
}
