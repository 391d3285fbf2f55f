//! Options: what they share and what they change.

use buttress_core::{Bind, BoxError, Plain, Reason};
use buttress_order::{OrderHandle, OrderLayer, OrderSnapshot, ResponseFuture};
use buttress_testkit::{TestError, counts};
use tokio_test::{assert_pending, task};
use tower::{Layer, service_fn};
use tower_service::Service;

use crate::support::{Job, Worker, job, key_of, reason};

#[tokio::test(start_paused = true)]
async fn clones_and_services_of_a_layer_share_the_turns() {
    let layer = OrderLayer::serial(key_of);
    let clone = layer.clone().named("other").until_head();
    let running = layer.layer(Worker::new()).call(job(1, 1, 5));
    let mut waiting = task::spawn(clone.layer(Worker::new()).call(job(1, 2, 5)));
    assert_pending!(waiting.poll());
    assert_eq!(clone.handle().waiting(&1), 1);
    assert_eq!(layer.handle().waiting(&1), 1);
    drop(running);
    assert_eq!(waiting.await.unwrap(), 2);
    assert_eq!(layer.handle().calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn mode_is_replaced_without_losing_the_turns() {
    let layer = OrderLayer::latest(key_of);
    let bound = layer.clone().bind(Plain);
    let _running = layer.layer(Worker::new()).call(job(1, 1, 5));
    let mut newest = task::spawn(bound.layer(Worker::new()).call(job(1, 2, 5)));
    assert_pending!(newest.poll());
    assert_eq!(layer.handle().waiting(&1), 1);
}

#[tokio::test(start_paused = true)]
async fn queue_max_keys_and_overlapping_start_fresh_and_change_no_clone() {
    let layer = OrderLayer::serial(key_of).queue(1);
    let _running = layer.layer(Worker::new()).call(job(1, 1, 5));
    for fresh in [layer.clone().queue(0), layer.clone().max_keys(9)] {
        assert_eq!(fresh.handle().snapshot(), OrderSnapshot::default());
        let outcome = fresh.layer(Worker::new()).call(job(1, 2, 0)).await;
        assert_eq!(outcome.unwrap(), 2);
    }
    let mut service = layer.layer(Worker::new());
    let _waiting = service.call(job(1, 3, 0));
    assert_eq!(layer.handle().waiting(&1), 1, "the queue of the layer is unchanged");
    let latest = OrderLayer::latest(key_of);
    let mut service = latest.layer(Worker::new());
    let running = service.call(job(1, 1, 5));
    let fresh = latest.clone().overlapping();
    assert_eq!(fresh.layer(Worker::new()).call(job(1, 2, 0)).await.unwrap(), 2);
    assert_eq!(running.await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn options_hold_in_any_order() {
    let one = OrderLayer::serial(key_of).named("w").queue(0).until_head().max_keys(9);
    let other = OrderLayer::serial(key_of).max_keys(9).until_head().queue(0).named("w");
    for layer in [one, other] {
        let mut service = layer.layer(Worker::new());
        let _running = service.call(job(1, 1, 5));
        let error = service.call(job(1, 2, 5)).await.unwrap_err();
        assert_eq!(error.to_string(), "order `w`: overloaded");
        assert_eq!(layer.handle().full(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn per_service_gives_each_service_turns_and_counters_of_its_own() {
    let layer = OrderLayer::serial(key_of).queue(0).per_service();
    let (mut one, mut other) = (layer.layer(Worker::new()), layer.layer(Worker::new()));
    let running = one.call(job(1, 1, 5));
    assert_eq!(other.call(job(1, 2, 0)).await.unwrap(), 2);
    let mut clone = one.clone();
    assert_eq!(reason(clone.call(job(1, 3, 0)).await), Reason::Overloaded);
    assert_eq!(running.await.unwrap(), 1);
    let expected = counts!(OrderSnapshot { calls: 2, rejected: 1, full: 1 });
    assert_eq!(one.handle().snapshot(), expected);
    assert_eq!(other.handle().snapshot(), counts!(OrderSnapshot { calls: 1 }));
    assert_eq!(layer.handle().snapshot(), OrderSnapshot::default());
}

#[tokio::test(start_paused = true)]
async fn handle_prints_its_snapshot_and_reads_what_its_clone_reads() {
    let layer = OrderLayer::serial(key_of);
    let handle: OrderHandle<u32> = layer.handle();
    layer.layer(Worker::new()).call(job(1, 1, 0)).await.unwrap();
    assert_eq!(format!("{handle:?}"), format!("OrderHandle({:?})", handle.snapshot()));
    assert_eq!(handle.clone().snapshot(), counts!(OrderSnapshot { calls: 1 }));
}

/// Plain mode, with an error enum of the user's.
#[tokio::test(start_paused = true)]
async fn rejection_becomes_an_error_of_the_service_in_plain_mode() {
    let layer = OrderLayer::latest(|_: &u32| Some(()));
    let mut service = layer.layer(service_fn(|n: u32| async move {
        tokio::task::yield_now().await;
        if n == 0 { Err(TestError::Failed) } else { Ok(n) }
    }));
    let first = service.call(1);
    let second = service.call(0);
    assert_eq!(first.await, Err(TestError::Rejected(Reason::Superseded)));
    assert_eq!(second.await, Err(TestError::Failed));
}

/// The future over bare, as the cost bars limit it: 56 bytes.
#[test]
fn future_is_at_most_56_bytes_larger_than_the_inner_future() {
    type Inner = std::future::Ready<Result<u32, BoxError>>;
    #[derive(Clone)]
    struct Bare;
    impl Service<Job> for Bare {
        type Response = u32;
        type Error = BoxError;
        type Future = Inner;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), BoxError>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, job: Job) -> Inner {
            std::future::ready(Ok(job.number))
        }
    }
    let over = size_of::<ResponseFuture<Bare, Job, Plain>>() - size_of::<Inner>();
    assert!(over <= 56, "{over} bytes");
}
