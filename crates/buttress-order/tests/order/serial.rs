//! One call at a time per key, in the order of arrival.

use std::{
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
};

use buttress_core::{BoxError, Criticality, Reason};
use buttress_order::{OrderLayer, OrderSnapshot};
use buttress_testkit::counts;
use tokio::time::sleep;
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, ServiceExt};
use tower_service::Service;

use crate::support::{
    Act::{Answered, Began, Dropped},
    FAILS, Worker, job, key_of, ms, reason,
};

/// OR-01.
#[tokio::test(start_paused = true)]
async fn calls_of_a_key_run_one_at_a_time_and_other_keys_run_beside_them() {
    let worker = Worker::new();
    let service = OrderLayer::serial(key_of).layer(worker.clone());
    let (first, second, other) = tokio::join!(
        service.clone().oneshot(job(1, 10, 100)),
        service.clone().oneshot(job(1, 11, 50)),
        service.clone().oneshot(job(2, 20, 70)),
    );
    assert_eq!((first.unwrap(), second.unwrap(), other.unwrap()), (10, 11, 20));
    let expected = [
        Began(10, 0),
        Began(20, 0),
        Answered(20, 70),
        Answered(10, 100),
        Began(11, 100),
        Answered(11, 150),
    ];
    assert_eq!(worker.acts(), expected);
}

/// OR-01, its failure.
#[tokio::test(start_paused = true)]
async fn next_call_begins_when_the_running_call_fails() {
    let worker = Worker::new();
    let service = OrderLayer::serial(key_of).layer(worker.clone());
    let (first, second) = tokio::join!(
        service.clone().oneshot(job(1, FAILS, 30)),
        service.clone().oneshot(job(1, 11, 5)),
    );
    assert_eq!(first.unwrap_err().to_string(), "failed");
    assert_eq!(second.unwrap(), 11);
    assert_eq!(worker.acts()[2], Began(11, 30));
}

/// OR-01, its drop.
#[tokio::test(start_paused = true)]
async fn next_call_begins_when_the_running_call_is_dropped() {
    let worker = Worker::new();
    let service = OrderLayer::serial(key_of).layer(worker.clone());
    let mut running = task::spawn(service.clone().oneshot(job(1, 10, 100)));
    assert_pending!(running.poll());
    let mut waiting = task::spawn(service.clone().oneshot(job(1, 11, 0)));
    assert_pending!(waiting.poll());
    drop(running);
    assert!(waiting.is_woken());
    assert_eq!(waiting.await.unwrap(), 11);
    let expected = [Began(10, 0), Dropped(10, 0), Began(11, 0), Answered(11, 0)];
    assert_eq!(worker.acts()[..2], expected[..2], "the work is gone before the next begins");
    assert_eq!(worker.acts()[2], expected[2]);
}

#[tokio::test(start_paused = true)]
async fn order_of_arrival_is_that_of_call_and_not_of_the_polls() {
    let worker = Worker::new();
    let mut service = OrderLayer::serial(key_of).layer(worker.clone());
    let mut calls: Vec<_> =
        (0..4).map(|number| task::spawn(service.call(job(1, number, 0)))).collect();
    // Polled in reverse.
    for call in calls.iter_mut().skip(1).rev() {
        assert_pending!(call.poll());
    }
    for (number, call) in (0..).zip(calls) {
        assert_eq!(call.await.unwrap(), number);
    }
    let began = [Began(0, 0), Began(1, 0), Began(2, 0), Began(3, 0)];
    let seen: Vec<_> = worker.acts().into_iter().filter(|act| began.contains(act)).collect();
    assert_eq!(seen, began);
}

/// OR-03, of which the layer keeps the first half: equal calls are first in, first out.
#[tokio::test(start_paused = true)]
async fn waiting_calls_keep_the_order_of_arrival_whatever_their_criticality() {
    let worker = Worker::new();
    let service = OrderLayer::serial(key_of).layer(worker.clone());
    let call = |criticality: Criticality, number| {
        criticality.around(service.clone().oneshot(job(1, number, 10)))
    };
    let (a, b, c) = tokio::join!(
        call(Criticality::Sheddable, 1),
        call(Criticality::Sheddable, 2),
        call(Criticality::CriticalPlus, 3),
    );
    assert_eq!((a.unwrap(), b.unwrap(), c.unwrap()), (1, 2, 3));
}

/// OR-04.
#[tokio::test(start_paused = true)]
async fn waiter_behind_two_that_leave_still_runs() {
    let layer = OrderLayer::serial(key_of).queue(3);
    let (handle, service) = (layer.handle(), layer.layer(Worker::new()));
    let running = service.clone().oneshot(job(1, 0, 10));
    let mut running = task::spawn(running);
    assert_pending!(running.poll());
    let mut waiting: Vec<_> =
        (1..4).map(|n| task::spawn(service.clone().oneshot(job(1, n, 0)))).collect();
    for call in &mut waiting {
        assert_pending!(call.poll());
    }
    assert_eq!(handle.waiting(&1), 3);
    let third = waiting.pop().unwrap();
    drop(waiting);
    assert_eq!(handle.waiting(&1), 1);
    assert_eq!(running.await.unwrap(), 0);
    assert!(third.is_woken());
    assert_eq!(third.await.unwrap(), 3);
    assert_eq!(handle.keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn call_beyond_the_queue_is_rejected_at_once() {
    let worker = Worker::new();
    let layer = OrderLayer::serial(key_of).queue(1).named("writes");
    let (handle, service) = (layer.handle(), layer.layer(worker.clone()));
    let mut running = task::spawn(service.clone().oneshot(job(1, 0, 10)));
    let mut waiting = task::spawn(service.clone().oneshot(job(1, 1, 10)));
    assert_pending!(running.poll());
    assert_pending!(waiting.poll());
    let full = assert_ready!(task::spawn(service.clone().oneshot(job(1, 2, 10))).poll());
    assert_eq!(full.unwrap_err().to_string(), "order `writes`: overloaded");
    // Another key has a queue of its own.
    assert_eq!(service.clone().oneshot(job(2, 3, 0)).await.unwrap(), 3);
    let expected = counts!(OrderSnapshot { calls: 4, rejected: 1, full: 1, queued: 1 });
    assert_eq!(handle.snapshot(), expected);
    assert_eq!((running.await.unwrap(), waiting.await.unwrap()), (0, 1));
    assert!(!worker.acts().iter().any(|act| matches!(act, Began(2, _))));
}

#[tokio::test(start_paused = true)]
async fn queue_of_zero_rejects_every_call_that_finds_another() {
    let layer = OrderLayer::serial(key_of).queue(0);
    let service = layer.layer(Worker::new());
    let mut running = task::spawn(service.clone().oneshot(job(1, 0, 10)));
    assert_pending!(running.poll());
    for _ in 0..3 {
        let outcome = service.clone().oneshot(job(1, 1, 0)).await;
        assert_eq!(reason(outcome), Reason::Overloaded);
    }
    assert_eq!(running.await.unwrap(), 0);
    assert_eq!(service.oneshot(job(1, 1, 0)).await.unwrap(), 1);
    assert_eq!(layer.handle().full(), 3);
}

#[tokio::test(start_paused = true)]
async fn sixty_four_calls_wait_by_default() {
    let layer = OrderLayer::serial(key_of);
    let mut service = layer.layer(Worker::new());
    let calls: Vec<_> = (0..65).map(|n| service.call(job(1, n, 1))).collect();
    assert_eq!(layer.handle().waiting(&1), 64);
    assert_eq!(reason(service.call(job(1, 65, 1)).await), Reason::Overloaded);
    for (number, call) in (0..).zip(calls) {
        assert_eq!(call.await.unwrap(), number);
    }
}

#[tokio::test(start_paused = true)]
async fn waiter_dropped_after_it_got_the_turn_passes_the_turn_on() {
    let layer = OrderLayer::serial(key_of);
    let mut service = layer.layer(Worker::new());
    let mut running = task::spawn(service.call(job(1, 0, 5)));
    let mut granted = task::spawn(service.call(job(1, 1, 5)));
    let mut next = task::spawn(service.call(job(1, 2, 5)));
    assert_pending!(running.poll());
    assert_pending!(granted.poll());
    assert_pending!(next.poll());
    drop(running);
    assert!(granted.is_woken());
    assert!(!next.is_woken());
    drop(granted);
    assert!(next.is_woken());
    assert_eq!(next.await.unwrap(), 2);
    assert_eq!(layer.handle().keys(), 0);
}

/// The documented consequence of a call that is held and not polled.
#[tokio::test(start_paused = true)]
async fn call_that_holds_the_turn_unpolled_blocks_its_key_until_it_is_dropped() {
    let layer = OrderLayer::serial(key_of);
    let mut service = layer.layer(Worker::new());
    let held = service.call(job(1, 0, 0));
    let mut waiting = task::spawn(service.call(job(1, 1, 0)));
    assert_pending!(waiting.poll());
    sleep(ms(60_000)).await;
    assert_pending!(waiting.poll());
    assert_eq!(service.clone().oneshot(job(2, 2, 0)).await.unwrap(), 2);
    drop(held);
    assert_eq!(waiting.await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn waiter_is_woken_by_the_waker_of_its_last_poll_only() {
    let mut service = OrderLayer::serial(key_of).layer(Worker::new());
    let running = service.call(job(1, 0, 5));
    let mut waiting = Box::pin(service.call(job(1, 1, 5)));
    let mut former = task::spawn(std::future::poll_fn(|cx| waiting.as_mut().poll(cx)));
    assert_pending!(former.poll());
    let woken = former.is_woken();
    drop(former);
    let mut latest = task::spawn(std::future::poll_fn(|cx| waiting.as_mut().poll(cx)));
    assert_pending!(latest.poll());
    assert_pending!(latest.poll());
    drop(running);
    assert!(latest.is_woken() && !woken);
}

#[tokio::test(start_paused = true)]
async fn requests_without_a_key_are_not_ordered() {
    let worker = Worker::new();
    let layer = OrderLayer::serial(|job: &crate::support::Job| (job.key > 0).then_some(job.key));
    let service = layer.layer(worker.clone());
    let (a, b) = tokio::join!(
        service.clone().oneshot(job(0, 1, 10)),
        service.clone().oneshot(job(0, 2, 10)),
    );
    assert_eq!((a.unwrap(), b.unwrap()), (1, 2));
    assert_eq!(worker.acts()[..2], [Began(1, 0), Began(2, 0)]);
    assert_eq!(layer.handle().snapshot(), counts!(OrderSnapshot { calls: 2 }));
}

/// A finished inner future may still hold what the next call needs, so it is dropped with its turn.
#[tokio::test(start_paused = true)]
async fn inner_future_is_dropped_before_the_next_call_begins_although_its_call_is_held() {
    /// Answers with the number of futures that are there.
    struct Held(Arc<()>);
    impl Future for Held {
        type Output = Result<usize, BoxError>;

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            Poll::Ready(Ok(Arc::strong_count(&self.0) - 1))
        }
    }
    static ALIVE: LazyLock<Arc<()>> = LazyLock::new(Arc::default);
    let mut service = OrderLayer::serial(|_: &u32| Some(()))
        .layer(tower::service_fn(|_: u32| Held(Arc::clone(&ALIVE))));
    let (mut first, mut second) = (task::spawn(service.call(1)), task::spawn(service.call(2)));
    assert_eq!(assert_ready!(first.poll()).unwrap(), 1);
    assert_eq!(assert_ready!(second.poll()).unwrap(), 1, "the first future is still there");
    drop((first, second));
}
