//! Live settings: the length of the queues changes while calls run.

use buttress_core::Reason;
use buttress_order::OrderLayer;
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceExt};

use crate::support::{Worker, job, key_of, reason};

#[tokio::test(start_paused = true)]
async fn set_max_queued_holds_for_later_calls_and_waiting_calls_stay() {
    let layer = OrderLayer::serial(key_of).queue(2);
    let (handle, clone) = (layer.handle(), layer.clone().named("clone"));
    let service = clone.layer(Worker::new());
    let mut calls: Vec<_> =
        (0..3).map(|n| task::spawn(service.clone().oneshot(job(1, n, 10)))).collect();
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    handle.set_max_queued(0);
    assert_eq!((handle.max_queued(), handle.waiting(&1)), (Some(0), 2));
    assert_eq!(reason(service.clone().oneshot(job(1, 9, 10)).await), Reason::Overloaded);
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), u32::try_from(number).unwrap());
    }
    service.clone().oneshot(job(2, 1, 10)).await.unwrap();
    let (first, second) = (service.clone().oneshot(job(2, 1, 9)), service.oneshot(job(2, 2, 9)));
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.unwrap(), 1);
    assert_eq!(reason(second), Reason::Overloaded, "a key that was not in use either");
    assert_eq!((handle.calls(), handle.full()), (7, 2));
}

#[tokio::test(start_paused = true)]
async fn set_max_queued_reaches_no_sibling_and_no_layer_whose_latest_call_wins() {
    let (layer, sibling) = (OrderLayer::serial(key_of).queue(2), OrderLayer::serial(key_of));
    layer.handle().set_max_queued(7);
    assert_eq!(layer.handle().max_queued(), Some(7));
    assert_eq!(layer.max_keys(9).handle().max_queued(), Some(7), "an option keeps the length");
    assert_eq!(sibling.handle().max_queued(), Some(64));
    let latest = OrderLayer::latest(key_of).handle();
    latest.set_max_queued(7);
    assert_eq!(latest.max_queued(), None);
}
