//! Live settings: the queue changes while calls run.

use std::time::Duration;

use buttress_core::Reason;
use buttress_testkit::counts;
use buttress_throttle::{Gradient2, Queue, Rate, ThrottleLayer, ThrottleSnapshot};
use tokio::time::{Instant, sleep};
use tokio_test::{assert_pending, task};
use tower::ServiceExt;

use crate::support::{limited, ms, reason};

#[tokio::test(start_paused = true)]
async fn set_max_queued_holds_for_later_calls_and_waiting_calls_stay() {
    let layer = ThrottleLayer::concurrency(1).queue(2);
    let (handle, clone) = (layer.handle(), layer.clone().named("clone"));
    let service = limited(&clone);
    let mut calls: Vec<_> = (0..3).map(|_| task::spawn(service.clone().oneshot(10))).collect();
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    handle.set_max_queued(0);
    assert_eq!((handle.max_queued(), handle.queued()), (0, 2));
    assert_eq!(reason(service.clone().oneshot(10).await), Reason::Overloaded);
    for call in calls {
        call.await.unwrap();
    }
    handle.set_max_queued(1);
    let (running, waiting) = (service.clone().oneshot(10), service.oneshot(10));
    let (running, waiting) = tokio::join!(running, waiting);
    running.and(waiting).unwrap();
    assert_eq!((handle.admitted(), handle.rejected()), (5, 1));
}

#[tokio::test(start_paused = true)]
async fn set_max_queued_reaches_no_sibling_layer() {
    let (layer, sibling) =
        (ThrottleLayer::concurrency(1).queue(2), ThrottleLayer::concurrency(1).queue(2));
    layer.handle().set_max_queued(7);
    assert_eq!((layer.handle().max_queued(), sibling.handle().max_queued()), (7, 2));
}

#[tokio::test(start_paused = true)]
async fn set_max_wait_holds_for_later_calls_and_waiting_calls_keep_their_end() {
    let layer = ThrottleLayer::concurrency(1).queue(Queue::new(9).max_wait(ms(100)));
    let handle = layer.handle();
    let service = limited(&layer);
    let start = Instant::now();
    let running = service.clone().oneshot(1000);
    let first = async { (service.clone().oneshot(10).await, start.elapsed()) };
    let second = async {
        sleep(ms(10)).await;
        handle.set_max_wait(ms(20));
        (service.clone().oneshot(10).await, start.elapsed())
    };
    let (running, first, second) = tokio::join!(running, first, second);
    running.unwrap();
    assert_eq!((reason(first.0), first.1), (Reason::Overloaded, ms(100)));
    assert_eq!((reason(second.0), second.1), (Reason::Overloaded, ms(30)));
    handle.set_max_wait(None);
    assert_eq!(handle.max_wait(), None);
    let call = || service.clone().oneshot(1000);
    let (first, second, third) = tokio::join!(call(), call(), call());
    first.and(second).and(third).unwrap();
}

#[tokio::test(start_paused = true)]
async fn queue_of_each_key_changes_for_keys_in_use_and_later_ones() {
    let layer = ThrottleLayer::rate(Rate::per_second(1)).keyed(|n: &u64| Some(n % 2)).queue(3);
    let handle = layer.handle();
    let service = limited(&layer);
    service.clone().oneshot(0).await.unwrap();
    handle.set_max_queued(0);
    handle.set_max_wait(Duration::from_secs(7));
    assert_eq!((handle.max_queued(), handle.max_wait()), (0, Some(Duration::from_secs(7))));
    assert_eq!(handle.rates(), [Rate::per_second(1)]);
    assert_eq!(reason(service.clone().oneshot(0).await), Reason::RateLimited);
    service.clone().oneshot(1).await.unwrap();
    assert_eq!(reason(service.oneshot(1).await), Reason::RateLimited);
    let one = handle.for_key(&1).unwrap();
    assert_eq!((one.max_queued(), one.max_wait()), (0, Some(Duration::from_secs(7))));
}

#[tokio::test(start_paused = true)]
async fn handle_of_a_layer_without_services_knows_its_settings() {
    let fixed = ThrottleLayer::concurrency(8).queue(Queue::new(4).max_wait(ms(50))).handle();
    assert_eq!((fixed.limit(), fixed.max_queued(), fixed.max_wait()), (8, 4, Some(ms(50))));
    let adaptive = ThrottleLayer::adaptive(Gradient2::default().initial(50)).handle();
    assert_eq!((adaptive.limit(), adaptive.max_queued(), adaptive.max_wait()), (50, 0, None));
    let keyed = ThrottleLayer::concurrency(8).keyed(|n: &u64| Some(*n)).handle();
    assert_eq!(keyed.limit(), 8);
    keyed.set_limit(3);
    assert_eq!(keyed.limit(), 3);
}

#[tokio::test(start_paused = true)]
async fn call_dropped_in_the_queue_counts_as_abandoned() {
    let layer = ThrottleLayer::concurrency(1).queue(Queue::new(9).max_wait(ms(100)));
    let service = limited(&layer);
    let mut calls: Vec<_> = (0..3).map(|_| task::spawn(service.clone().oneshot(1000))).collect();
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    calls.pop();
    let mut calls = calls.into_iter();
    let (running, waiting) = (calls.next().unwrap(), calls.next().unwrap());
    assert_eq!(reason(waiting.await), Reason::Overloaded);
    drop(running);
    let expected = counts!(ThrottleSnapshot {
        admitted: [0, 0, 1, 0],
        rejected: [0, 0, 1, 0],
        abandoned: 1,
        in_flight: Some(0),
        limit: Some(1),
    });
    assert_eq!(layer.handle().snapshot(), expected);
}
