//! Options: which of them start fresh state, and that they come in any order.

use std::time::Duration;

use buttress_core::{BoxError, Reason, Verdict};
use buttress_throttle::{Queue, Rate, ThrottleLayer};
use tokio::time::advance;
use tokio_test::{assert_pending, task};
use tower::ServiceExt;

use crate::support::{echo, limited, ms, reason, rejection};

#[tokio::test(start_paused = true)]
async fn queue_option_leaves_sibling_layers_as_they_were() {
    let layer = ThrottleLayer::concurrency(1);
    let mut running = task::spawn(limited(&layer).oneshot(10));
    assert_pending!(running.poll());
    let queued = layer.clone().queue(1);
    assert_eq!(reason(limited(&layer).oneshot(1).await), Reason::Overloaded);
    let mut first = task::spawn(limited(&queued).oneshot(10));
    let mut second = task::spawn(limited(&queued).oneshot(10));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    assert_eq!(layer.handle().queued(), 0);
    assert_eq!(layer.handle().rejected(), 1);
    assert_eq!(queued.handle().queued(), 1);
    assert_eq!(queued.handle().rejected(), 0);
    assert_eq!(queued.handle().in_flight(), 1);
}

#[tokio::test(start_paused = true)]
async fn handle_made_before_an_option_keeps_the_former_limit() {
    let layer = ThrottleLayer::concurrency(1);
    let former = layer.handle();
    let layer = layer.queue(1);
    former.set_limit(0);
    let mut running = task::spawn(limited(&layer).oneshot(10));
    assert_pending!(running.poll());
    assert_eq!(former.in_flight(), 0);
    assert_eq!(layer.handle().limit(), 1);
}

#[tokio::test(start_paused = true)]
async fn second_queue_replaces_all_options_of_the_first() {
    let layer = ThrottleLayer::concurrency(0).queue(Queue::new(9).max_wait(ms(5))).queue(1);
    let mut waiting = task::spawn(limited(&layer).oneshot(1));
    assert_pending!(waiting.poll());
    advance(ms(100)).await;
    assert_pending!(waiting.poll());
    assert_eq!(reason(limited(&layer).oneshot(1).await), Reason::Overloaded);
}

#[tokio::test(start_paused = true)]
async fn max_keys_leaves_sibling_layers_as_they_were() {
    let layer = ThrottleLayer::concurrency(1).keyed(|key: &u64| Some(*key));
    let mut running = task::spawn(limited(&layer).oneshot(10));
    assert_pending!(running.poll());
    let small = layer.clone().max_keys(0);
    assert_eq!(small.handle().keys(), 0);
    assert_eq!(limited(&small).oneshot(10).await.unwrap(), 10);
    assert_eq!(small.handle().keys(), 0);
    assert_eq!(layer.handle().keys(), 1);
    assert_eq!(layer.handle().admitted(), 1);
}

#[tokio::test(start_paused = true)]
async fn keys_have_limits_of_their_own_beside_the_layer_they_were_made_of() {
    let layer = ThrottleLayer::concurrency(1);
    let keyed = layer.clone().keyed(|key: &u64| Some(*key));
    layer.handle().set_limit(0);
    assert_eq!(reason(limited(&layer).oneshot(1).await), Reason::Overloaded);
    assert_eq!(limited(&keyed).oneshot(1).await.unwrap(), 1);
    assert_eq!(layer.handle().admitted(), 0);
    assert_eq!(keyed.handle().rejected(), 0);
}

#[tokio::test(start_paused = true)]
async fn seed_leaves_the_draws_of_sibling_layers_as_they_were() {
    let told = async |layer: &ThrottleLayer, calls: usize| {
        let mut told = Vec::new();
        for _ in 0..calls {
            told.push(rejection(limited(layer).oneshot(1).await).retry_after());
        }
        told
    };
    let layer = || ThrottleLayer::concurrency(0).retry_after(Duration::from_secs(9)).seed(7);
    let expected = told(&layer(), 8).await;
    let former = layer();
    let mut seen = told(&former, 4).await;
    let sibling = former.clone().seed(8);
    assert_ne!(told(&sibling, 8).await, expected);
    seen.extend(told(&former, 4).await);
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn queue_comes_after_keyed_too() {
    let layer = ThrottleLayer::concurrency(1).keyed(|key: &u64| Some(*key)).queue(1);
    let service = limited(&layer);
    let calls = [10, 10, 11].map(|key| {
        let mut call = task::spawn(service.clone().oneshot(key));
        assert_pending!(call.poll());
        call
    });
    assert_eq!(reason(service.clone().oneshot(10).await), Reason::Overloaded);
    assert_eq!(layer.handle().queued(), 1);
    assert_eq!(layer.handle().in_flight(), 2);
    drop(calls);
    assert_eq!(layer.handle().in_flight(), 0);
    assert_eq!(layer.handle().keys(), 0, "the sums keep no key in use");
}

#[tokio::test(start_paused = true)]
async fn cost_comes_after_keyed_and_queue_too() {
    let layer = ThrottleLayer::rate(Rate::per_second(5).burst(5))
        .keyed(|cells: &u32| Some(*cells))
        .queue(Queue::new(1).max_wait(ms(10)))
        .cost(|cells: &u32| *cells)
        .advertise_quota();
    let service = echo(&layer);
    assert_eq!(service.clone().oneshot(3).await.unwrap(), 3);
    assert_eq!(rejection(service.clone().oneshot(3).await).retry_after(), Some(ms(200)));
    assert_eq!(reason(service.clone().oneshot(6).await), Reason::NeverAdmissible);
}

#[tokio::test(start_paused = true)]
async fn retry_after_seed_and_classify_come_after_keyed_too() {
    let told = async |seed| {
        let layer = ThrottleLayer::concurrency(0)
            .keyed(|key: &u64| Some(*key))
            .retry_after(ms(100))
            .seed(seed)
            .classify(|_: Result<&u64, &BoxError>| Verdict::Success);
        rejection(limited(&layer).oneshot(1).await).retry_after().unwrap()
    };
    let delay = told(7).await;
    assert!((ms(100)..ms(150)).contains(&delay), "{delay:?}");
    assert_eq!(delay, told(7).await);
}

#[tokio::test(start_paused = true)]
async fn accept_ratio_takes_its_seed_before_keyed_and_after() {
    let served = async |layer: &_, calls: u32| {
        let mut served = Vec::new();
        for _ in 0..calls {
            let mut call = task::spawn(limited(layer).oneshot(1_000_000));
            served.push(call.poll().is_pending());
            std::mem::forget(call);
            advance(ms(100)).await;
        }
        served
    };
    let key = |_: &u64| Some(());
    let before = || ThrottleLayer::accept_ratio().seed(3).keyed(key);
    let after = || ThrottleLayer::accept_ratio().keyed(key).seed(3);
    let shed = served(&before(), 60).await;
    assert!(shed.contains(&false));
    assert_eq!(served(&before(), 60).await, shed);
    let shed = served(&after(), 60).await;
    assert_eq!(served(&after(), 60).await, shed);
}
