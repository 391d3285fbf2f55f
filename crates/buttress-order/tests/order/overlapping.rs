//! The newest call begins at once, beside the call that it supersedes.

use buttress_core::Reason;
use buttress_order::{OrderLayer, OrderSnapshot};
use buttress_testkit::counts;
use tokio_test::{assert_pending, assert_ready, task};
use tower::Layer;
use tower_service::Service;

use crate::support::{
    Act::{Answered, Began, Dropped},
    Worker, job, key_of, ms, reason,
};

#[tokio::test(start_paused = true)]
async fn newest_call_begins_while_the_superseded_call_is_held_unpolled() {
    let worker = Worker::new();
    let layer = OrderLayer::latest(key_of).overlapping();
    let mut service = layer.layer(worker.clone());
    let mut first = task::spawn(service.call(job(1, 1, 100)));
    assert_pending!(first.poll());
    let second = service.call(job(1, 2, 0));
    assert!(first.is_woken());
    assert_eq!(second.await.unwrap(), 2);
    assert_eq!(worker.acts(), [Began(1, 0), Began(2, 0), Answered(2, 0)]);
    assert_eq!(reason(assert_ready!(first.poll())), Reason::Superseded);
    assert_eq!(worker.acts().last(), Some(&Dropped(1, 0)));
    let expected = counts!(OrderSnapshot { calls: 2, rejected: 1, superseded: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
    assert_eq!(layer.handle().keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn end_of_a_superseded_call_does_not_end_the_turn_of_the_newest() {
    let layer = OrderLayer::latest(key_of).overlapping();
    let mut service = layer.layer(Worker::new());
    let mut calls: Vec<_> = (0..4).map(|n| task::spawn(service.call(job(1, n, 50)))).collect();
    for call in calls.iter_mut().take(3) {
        assert_eq!(reason(assert_ready!(call.poll())), Reason::Superseded);
    }
    let mut newest = calls.pop().unwrap();
    assert_pending!(newest.poll());
    drop(calls);
    assert!(!newest.is_woken());
    // A still newer call finds the newest, and ends it.
    let mut last = task::spawn(service.call(job(1, 9, 1)));
    assert!(newest.is_woken());
    assert_eq!(reason(assert_ready!(newest.poll())), Reason::Superseded);
    assert_pending!(last.poll());
    tokio::time::sleep(ms(2)).await;
    assert_eq!(assert_ready!(last.poll()).unwrap(), 9);
    drop((newest, last));
    assert_eq!(layer.handle().keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_call_waits() {
    let layer = OrderLayer::latest(key_of).overlapping();
    let mut service = layer.layer(Worker::new());
    let calls: Vec<_> = (0..100).map(|n| service.call(job(1, n, 5))).collect();
    assert_eq!(layer.handle().waiting(&1), 0);
    assert_eq!(layer.handle().queued(), 0);
    drop(calls);
    assert_eq!(layer.handle().keys(), 0);
}
