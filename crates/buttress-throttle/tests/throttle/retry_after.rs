//! The retry delay of calls that a concurrency limit rejects.

use std::time::Duration;

use buttress_core::{Deadline, Reason};
use buttress_throttle::{Queue, ThrottleLayer};
use tokio_test::{assert_pending, task};
use tower::ServiceExt;

use crate::support::{limited, ms, reason, rejection};

/// The retry delays of this many rejected calls.
async fn told(layer: &ThrottleLayer, calls: usize) -> Vec<Duration> {
    let mut told = Vec::new();
    for _ in 0..calls {
        let rejection = rejection(limited(layer).oneshot(1).await);
        assert_eq!(rejection.reason(), Reason::Overloaded);
        told.extend(rejection.retry_after());
    }
    told
}

#[tokio::test(start_paused = true)]
async fn full_limit_tells_no_delay_by_default() {
    assert!(told(&ThrottleLayer::concurrency(0), 3).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn retry_delays_are_spread_over_half_of_the_delay() {
    let delay = ms(1000);
    let layer = || ThrottleLayer::concurrency(0).retry_after(delay).seed(7);
    let told_first = told(&layer(), 1000).await;
    assert!(told_first.iter().all(|told| (delay..delay * 3 / 2).contains(told)));
    let quarter =
        |from| told_first.iter().filter(move |told| (from..from + ms(125)).contains(*told));
    for from in [1000, 1125, 1250, 1375] {
        let count = quarter(ms(from)).count();
        assert!((200..=300).contains(&count), "{count} from {from} ms on");
    }
    assert_eq!(told(&layer(), 1000).await, told_first, "the same seed, the same times");
    assert_ne!(told(&layer().seed(8), 1000).await, told_first);
}

#[tokio::test(start_paused = true)]
async fn edge_values_of_retry_after_have_a_meaning() {
    assert_eq!(told(&ThrottleLayer::concurrency(0).retry_after(ms(0)), 1).await, [ms(0)]);
    let longest = ThrottleLayer::concurrency(0).retry_after(Duration::MAX);
    assert_eq!(told(&longest, 1).await, [Duration::MAX]);
}

#[tokio::test(start_paused = true)]
async fn shed_waiter_is_told_a_delay_and_a_timed_out_waiter_is_not() {
    let layer =
        ThrottleLayer::concurrency(0).queue(Queue::new(1).max_wait(ms(20))).retry_after(ms(100));
    let service = limited(&layer);
    let mut waiting = task::spawn(service.clone().oneshot(1));
    assert_pending!(waiting.poll());
    assert!(told(&layer, 1).await[0] >= ms(100), "the queue is full");
    assert!(rejection(waiting.await).retry_after() >= Some(ms(100)), "it waited for too long");
    let late = Deadline::after(ms(10)).around(service.clone().oneshot(1)).await;
    let late = rejection(late);
    assert_eq!(late.reason(), Reason::DeadlineExceeded);
    assert_eq!(late.retry_after(), None);
}

#[tokio::test(start_paused = true)]
async fn limit_of_each_key_tells_a_delay() {
    let layer = ThrottleLayer::concurrency(0).retry_after(ms(100)).keyed(|key: &u64| Some(*key));
    let rejection = rejection(limited(&layer).oneshot(1).await);
    assert!(rejection.retry_after() >= Some(ms(100)));
    assert_eq!(reason(limited(&layer).oneshot(2).await), Reason::Overloaded);
}
