//! A limit of its own for each key.

use buttress_core::{BoxError, Reason};
use buttress_testkit::counts;
use buttress_throttle::{
    ConcurrencyLimit, Keyed, Queue, Rate, RateLimit, ThrottleHandle, ThrottleLayer,
    ThrottleSnapshot, Vegas,
};
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{limited, ms, reason, worker};

#[tokio::test(start_paused = true)]
async fn different_keys_have_separate_limits_and_equal_keys_share() {
    let layer = ThrottleLayer::concurrency(1).keyed(|millis: &u64| Some(millis % 10));
    let service = limited(&layer);
    let mut seven = task::spawn(service.clone().oneshot(7));
    let mut eight = task::spawn(service.clone().oneshot(8));
    assert_pending!(seven.poll());
    assert_pending!(eight.poll());
    assert_eq!(reason(service.clone().oneshot(17).await), Reason::Overloaded);
    let handle = layer.handle();
    assert_eq!(handle.keys(), 2);
    assert_eq!(handle.admitted(), 2);
    assert_eq!(handle.rejected(), 1);
    assert_eq!(handle.for_key(&7).unwrap().in_flight(), 1);
    assert!(handle.for_key(&9).is_none());
    seven.await.unwrap();
    assert_eq!(service.clone().oneshot(17).await.unwrap(), 17);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_key_is_not_limited_and_not_counted() {
    let healthy = |path: &&'static str| (*path != "/health").then_some(());
    let layer = ThrottleLayer::concurrency(0).keyed(healthy);
    let service =
        layer.layer(service_fn(|path: &'static str| async move { Ok::<_, BoxError>(path) }));
    assert_eq!(service.clone().oneshot("/health").await.unwrap(), "/health");
    assert_eq!(reason(service.oneshot("/").await), Reason::Overloaded);
    let expected = counts!(ThrottleSnapshot { rejected: [0, 0, 1, 0], in_flight: Some(0) });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn each_key_has_a_queue_of_its_own_with_the_layers_options() {
    let layer = ThrottleLayer::concurrency(1)
        .queue(Queue::new(1).max_wait(ms(30)))
        .keyed(|millis: &u64| Some(*millis));
    let service = limited(&layer);
    let mut running = task::spawn(service.clone().oneshot(100));
    let mut waiting = task::spawn(service.clone().oneshot(100));
    assert_pending!(running.poll());
    assert_pending!(waiting.poll());
    assert_eq!(reason(service.clone().oneshot(100).await), Reason::Overloaded);
    assert_eq!(service.clone().oneshot(5).await.unwrap(), 5);
    assert_eq!(layer.handle().for_key(&100).unwrap().queued(), 1);
    assert_eq!(reason(waiting.await), Reason::Overloaded);
}

/// At most a single call per key runs at a time, and the calls of a key run in their order.
#[tokio::test(start_paused = true)]
async fn calls_of_a_key_run_in_order_under_a_limit_of_one() {
    let layer = ThrottleLayer::concurrency(1).queue(9).keyed(|millis: &u64| Some(millis % 10));
    let (service, start) = (limited(&layer), Instant::now());
    let calls = [101, 51, 22, 41].map(|millis| {
        let call = service.clone().oneshot(millis);
        tokio::task::spawn(async move { (call.await.is_ok(), start.elapsed()) })
    });
    let [first, second, of_another, third] = calls;
    assert_eq!(of_another.await.unwrap(), (true, ms(22)));
    first.abort();
    assert_eq!(second.await.unwrap(), (true, ms(22 + 51)));
    assert_eq!(third.await.unwrap(), (true, ms(22 + 51 + 41)));
    assert_eq!(layer.handle().keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn rate_of_each_key_has_the_queue_options_of_the_layer() {
    let rate = Rate::per_second(10).burst(1);
    let run = async |queue, max_wait| {
        let layer = ThrottleLayer::rate(rate).queue(Queue::new(queue).max_wait(max_wait));
        let service = limited(&layer.keyed(|key: &u64| Some(*key)));
        let calls = [0; 3].map(|key| tokio::task::spawn(service.clone().oneshot(key)));
        let mut served = Vec::new();
        for call in calls {
            served.push(call.await.unwrap().is_ok());
        }
        served
    };
    assert_eq!(run(9, ms(200)).await, [true, true, true]);
    assert_eq!(run(9, ms(199)).await, [true, true, false]);
    assert_eq!(run(1, ms(200)).await, [true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn key_is_dropped_when_no_call_runs_or_waits() {
    let layer = ThrottleLayer::concurrency(1).queue(1).keyed(|millis: &u64| Some(*millis));
    let (service, handle) = (limited(&layer), layer.handle());
    let mut running = task::spawn(service.clone().oneshot(10));
    let mut waiting = task::spawn(service.clone().oneshot(10));
    assert_pending!(running.poll());
    assert_pending!(waiting.poll());
    drop(running);
    assert_eq!(handle.keys(), 1, "a call waits");
    drop(waiting);
    assert_eq!(handle.keys(), 0);
    assert_eq!(handle.admitted(), 1, "what it counted is kept");
}

#[tokio::test(start_paused = true)]
async fn keyed_rate_is_dropped_when_its_burst_is_full_again() {
    let layer = ThrottleLayer::rate(Rate::per_second(2)).keyed(|key: &u64| Some(*key));
    let service = limited(&layer);
    service.clone().oneshot(0).await.unwrap();
    service.clone().oneshot(0).await.unwrap();
    advance(ms(900)).await;
    assert_eq!(layer.handle().keys(), 1);
    service.clone().oneshot(0).await.unwrap();
    assert_eq!(reason(service.clone().oneshot(0).await), Reason::RateLimited);
    advance(ms(1_100)).await;
    assert_eq!(layer.handle().keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn handle_of_a_key_keeps_the_key_in_use() {
    let layer = ThrottleLayer::rate(Rate::per_second(2)).keyed(|key: &u64| Some(*key));
    limited(&layer).oneshot(0).await.unwrap();
    let kept = layer.handle().for_key(&0).unwrap();
    advance(ms(1_000)).await;
    assert_eq!(layer.handle().keys(), 1);
    assert_eq!(kept.tokens(), 2);
    drop(kept);
    assert_eq!(layer.handle().keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn keyed_accept_ratio_is_dropped_with_its_window_and_not_during_a_call() {
    let layer = ThrottleLayer::accept_ratio().keyed(|key: &u64| Some(*key));
    let service = limited(&layer);
    service.clone().oneshot(0).await.unwrap();
    assert_eq!(layer.handle().keys(), 1);
    advance(ms(130_000)).await;
    assert_eq!(layer.handle().keys(), 0);
    let mut running = task::spawn(service.oneshot(200_000));
    assert_pending!(running.poll());
    advance(ms(130_000)).await;
    assert_eq!(layer.handle().keys(), 1);
    drop(running);
    assert_eq!(layer.handle().keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn limit_set_for_keys_applies_to_present_and_later_keys() {
    let layer = ThrottleLayer::concurrency(1).keyed(|key: &u64| Some(*key));
    let service = limited(&layer);
    let mut known = task::spawn(service.clone().oneshot(10));
    assert_pending!(known.poll());
    layer.handle().set_limit(2);
    for key in [10, 11, 11] {
        let mut call = task::spawn(service.clone().oneshot(key));
        assert_pending!(call.poll());
        std::mem::forget(call);
    }
    assert_eq!(reason(service.clone().oneshot(10).await), Reason::Overloaded);
    assert_eq!(reason(service.oneshot(11).await), Reason::Overloaded);
}

#[tokio::test(start_paused = true)]
async fn per_service_keyed_limits_are_separate() {
    let layer = ThrottleLayer::concurrency(1).keyed(|key: &u64| Some(*key)).per_service();
    let (one, other) = (layer.layer(worker()), layer.layer(worker()));
    let mut busy = task::spawn(one.clone().oneshot(10));
    assert_pending!(busy.poll());
    assert_eq!(reason(one.clone().oneshot(10).await), Reason::Overloaded);
    assert_eq!(other.clone().oneshot(10).await.unwrap(), 10);
    assert_eq!(one.handle().keys(), 1);
    assert_eq!(other.handle().keys(), 0);
    assert_eq!(one.handle().rejected(), 1);
    assert_eq!(other.handle().rejected(), 0);
}

#[tokio::test(start_paused = true)]
async fn adaptive_limit_of_an_unused_key_is_kept_for_a_minute() {
    // Of two calls at a time, the second comes near the limit.
    let law = Vegas::default().initial(4);
    let layer = ThrottleLayer::adaptive(law).keyed(|key: &u64| Some(*key));
    let service = limited(&layer);
    service.clone().oneshot(10).await.unwrap();
    assert_eq!(layer.handle().keys(), 0, "nothing was learned");
    let calls = [10, 10].map(|millis| tokio::task::spawn(service.clone().oneshot(millis)));
    for call in calls {
        call.await.unwrap().unwrap();
    }
    advance(ms(59_000)).await;
    assert_eq!(layer.handle().keys(), 1);
    advance(ms(1_000)).await;
    assert_eq!(layer.handle().keys(), 0);
}

/// What a program keeps to change its limits by: its type names no closure.
struct Limits {
    tenants: ThrottleHandle<Keyed<ConcurrencyLimit, u64>>,
    writes: ThrottleHandle<RateLimit>,
}

#[tokio::test(start_paused = true)]
async fn handle_type_names_no_closure() {
    let tenants = ThrottleLayer::concurrency(1).keyed(|key: &u64| Some(*key));
    let writes = ThrottleLayer::rate(Rate::per_second(1)).cost(|_: &u64| 1);
    let limits = Limits { tenants: tenants.handle(), writes: writes.handle() };
    limits.tenants.set_limit(0);
    assert_eq!(reason(limited(&tenants).oneshot(1).await), Reason::Overloaded);
    limits.writes.set_rate(Rate::per_second(0));
    assert_eq!(reason(limited(&writes).oneshot(1).await), Reason::RateLimited);
}
