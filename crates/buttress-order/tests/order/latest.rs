//! A call supersedes the earlier calls of its key.

use std::{
    sync::Arc,
    task::{Context, Wake, Waker},
};

use buttress_core::{Deadline, Reason};
use buttress_order::{OrderLayer, OrderSnapshot};
use buttress_testkit::counts;
use tokio::time::{Instant, sleep};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, ServiceExt};
use tower_service::Service;

use crate::support::{
    Act::{Answered, Began, Dropped},
    Worker, job, key_of, ms, reason,
};

/// OR-02.
#[tokio::test(start_paused = true)]
async fn later_call_ends_the_running_call_and_drops_its_work() {
    let worker = Worker::new();
    let layer = OrderLayer::latest(key_of).named("typing");
    let service = layer.layer(worker.clone());
    let start = Instant::now();
    let first = async {
        let outcome = service.clone().oneshot(job(1, 1, 100)).await;
        (outcome.unwrap_err().to_string(), start.elapsed())
    };
    let second = async {
        sleep(ms(50)).await;
        let outcome = service.clone().oneshot(job(1, 2, 20)).await;
        (outcome.unwrap(), start.elapsed())
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first, ("order `typing`: superseded by a later call".to_owned(), ms(50)));
    assert_eq!(second, (2, ms(70)));
    let expected = [Began(1, 0), Dropped(1, 50), Began(2, 50), Answered(2, 70)];
    assert_eq!(worker.acts(), expected);
    let expected = counts!(OrderSnapshot { calls: 2, rejected: 1, superseded: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn calls_of_other_keys_are_not_superseded() {
    let service = OrderLayer::latest(key_of).layer(Worker::new());
    let (a, b) = tokio::join!(
        service.clone().oneshot(job(1, 1, 10)),
        service.clone().oneshot(job(2, 2, 10)),
    );
    assert_eq!((a.unwrap(), b.unwrap()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn waiting_call_is_superseded_without_ever_beginning() {
    let worker = Worker::new();
    let layer = OrderLayer::latest(key_of);
    let mut service = layer.layer(worker.clone());
    let mut calls: Vec<_> = (0..3).map(|n| task::spawn(service.call(job(1, n, 5)))).collect();
    let mut latest = calls.pop().unwrap();
    let mut waiting = calls.pop().unwrap();
    // The running call is held unpolled, so the others wait.
    assert_pending!(latest.poll());
    assert_eq!(reason(assert_ready!(waiting.poll())), Reason::Superseded);
    assert_eq!(layer.handle().waiting(&1), 1);
    drop(calls);
    assert!(latest.is_woken());
    assert_eq!(latest.await.unwrap(), 2);
    assert!(!worker.acts().iter().any(|act| matches!(act, Began(1, _))));
    assert_eq!(layer.handle().keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn running_and_waiting_calls_are_woken_when_a_later_call_comes() {
    let mut service = OrderLayer::latest(key_of).layer(Worker::new());
    let mut running = task::spawn(service.call(job(1, 0, 100)));
    assert_pending!(running.poll());
    let mut waiting = task::spawn(service.call(job(1, 1, 100)));
    assert!(running.is_woken());
    assert_pending!(waiting.poll());
    let mut latest = task::spawn(service.call(job(1, 2, 1)));
    assert!(waiting.is_woken());
    assert_pending!(latest.poll());
    assert_eq!(reason(assert_ready!(waiting.poll())), Reason::Superseded);
    assert!(!latest.is_woken(), "the running call has the turn until it ends");
    assert_eq!(reason(assert_ready!(running.poll())), Reason::Superseded);
    assert!(latest.is_woken());
    assert_eq!(latest.await.unwrap(), 2);
}

/// The work is dropped before it is polled again.
#[tokio::test(start_paused = true)]
async fn superseded_work_is_not_polled_even_if_it_is_ready() {
    let worker = Worker::new();
    let mut service = OrderLayer::latest(key_of).layer(worker.clone());
    let mut first = task::spawn(service.call(job(1, 1, 10)));
    assert_pending!(first.poll());
    sleep(ms(20)).await;
    let second = service.call(job(1, 2, 0));
    assert_eq!(reason(assert_ready!(first.poll())), Reason::Superseded);
    assert_eq!(worker.acts()[..2], [Began(1, 0), Dropped(1, 20)]);
    assert_eq!(second.await.unwrap(), 2);
}

/// No outcome passes the layer once a later call was made, even by the inner call itself.
#[tokio::test(start_paused = true)]
async fn outcome_is_replaced_when_a_later_call_comes_during_the_poll() {
    let worker = Worker::new();
    let layer = OrderLayer::latest(|(key, _): &(u32, bool)| Some(*key));
    let (outer, handle) = (layer.clone(), layer.handle());
    let nested = layer.layer(tower::service_fn(|_| async { Ok::<_, buttress_core::BoxError>(0) }));
    let service = outer.layer(tower::service_fn(move |_: (u32, bool)| {
        let mut nested = nested.clone();
        async move {
            drop(nested.call((1, true)));
            Ok::<_, buttress_core::BoxError>(1)
        }
    }));
    assert_eq!(reason(service.oneshot((1, false)).await), Reason::Superseded);
    assert_eq!(handle.keys(), 0);
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn call_stays_superseded_when_the_later_call_leaves_before_it_begins() {
    let layer = OrderLayer::latest(key_of);
    let mut service = layer.layer(Worker::new());
    let mut first = task::spawn(service.call(job(1, 1, 10)));
    assert_pending!(first.poll());
    drop(service.call(job(1, 2, 0)));
    assert_eq!(layer.handle().waiting(&1), 0);
    assert_eq!(reason(assert_ready!(first.poll())), Reason::Superseded);
    assert_eq!(service.call(job(1, 3, 0)).await.unwrap(), 3);
    assert_eq!(layer.handle().keys(), 0);
}

/// The documented consequence: a held call delays the newest, up to the deadline of the newest.
#[tokio::test(start_paused = true)]
async fn superseded_call_that_is_not_polled_delays_the_newest_until_its_deadline() {
    let layer = OrderLayer::latest(key_of);
    let mut service = layer.layer(Worker::new());
    let held = service.call(job(1, 1, 0));
    let start = Instant::now();
    let outcome = Deadline::after(ms(30)).around(service.clone().oneshot(job(1, 2, 0))).await;
    assert_eq!(reason(outcome), Reason::DeadlineExceeded);
    assert!(start.elapsed() >= ms(30) && start.elapsed() < ms(35));
    drop(held);
    assert_eq!(service.call(job(1, 3, 0)).await.unwrap(), 3);
}

/// A call that got the turn and has not begun cannot delay a later call.
#[tokio::test(start_paused = true)]
async fn later_call_takes_the_turn_from_a_call_that_has_not_begun() {
    let worker = Worker::new();
    let layer = OrderLayer::latest(key_of);
    let mut service = layer.layer(worker.clone());
    let running = service.call(job(1, 0, 5));
    let mut granted = task::spawn(service.call(job(1, 1, 5)));
    assert_pending!(granted.poll());
    drop(running);
    assert!(granted.is_woken());
    // The granted call is not polled. The latest call begins at once.
    let latest = service.call(job(1, 2, 0));
    assert_eq!(worker.acts().last(), Some(&Began(2, 0)));
    assert_eq!(latest.await.unwrap(), 2);
    assert_eq!(reason(granted.await), Reason::Superseded);
    assert!(!worker.acts().iter().any(|act| matches!(act, Began(1, _))));
    assert_eq!(layer.handle().keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn granted_call_that_is_dropped_frees_the_key() {
    let layer = OrderLayer::latest(key_of);
    let mut service = layer.layer(Worker::new());
    let running = service.call(job(1, 0, 5));
    let mut granted = task::spawn(service.call(job(1, 1, 5)));
    assert_pending!(granted.poll());
    drop(running);
    drop(granted);
    assert_eq!(layer.handle().keys(), 0);
    assert_eq!(service.call(job(1, 2, 0)).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn sequence_of_calls_supersedes_nothing() {
    let layer = OrderLayer::latest(key_of);
    let mut service = layer.layer(Worker::new());
    for number in 0..100 {
        assert_eq!(service.call(job(1, number, 1)).await.unwrap(), number);
    }
    assert_eq!(layer.handle().snapshot(), counts!(OrderSnapshot { calls: 100 }));
}

/// A key keeps nothing of a call that has ended, neither of one that waited nor of one that ran.
#[tokio::test(start_paused = true)]
async fn waker_of_a_call_is_dropped_with_the_call() {
    struct Idle;
    impl Wake for Idle {
        fn wake(self: Arc<Self>) {}
    }
    let layer = OrderLayer::latest(key_of);
    let mut service = layer.layer(Worker::new());
    let idle = Arc::new(Idle);
    let waker = Waker::from(Arc::clone(&idle));
    let mut cx = Context::from_waker(&waker);
    let mut running = Box::pin(service.call(job(1, 0, 1)));
    assert!(running.as_mut().poll(&mut cx).is_pending());
    drop(running);
    assert_eq!(Arc::strong_count(&idle), 2, "that of this test is left");
    let _held = service.call(job(1, 1, 1));
    let mut waiting = Box::pin(service.call(job(1, 2, 1)));
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    drop(waiting);
    drop(waker);
    assert_eq!(Arc::strong_count(&idle), 1);
}
