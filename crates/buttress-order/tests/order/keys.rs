//! The keys that the layer keeps, and keys beyond the maximum.

use std::task::Poll;

use buttress_core::{BoxError, FixedKey, KeyOf, Reason};
use buttress_order::OrderLayer;
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceExt, service_fn};
use tower_service::Service;

use crate::support::{Act::Began, Job, Worker, job, key_of, reason};

/// OR-08.
#[tokio::test(start_paused = true)]
async fn no_key_is_left_after_a_hundred_thousand_keys_were_used_once() {
    let serial = OrderLayer::serial(|key: &u32| Some(*key));
    let latest = OrderLayer::latest(|key: &u32| Some(*key));
    let echo = || service_fn(|key: u32| async move { Ok::<_, BoxError>(key) });
    let (mut in_order, mut newest) = (serial.layer(echo()), latest.layer(echo()));
    for key in 0..100_000 {
        assert!(task::spawn(in_order.call(key)).poll().is_ready());
        assert!(task::spawn(newest.call(key)).poll().is_ready());
    }
    assert_eq!(serial.handle().keys(), 0);
    assert_eq!(latest.handle().keys(), 0);
    // No task was spawned for them.
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

/// OR-08, with calls that meet.
#[tokio::test(start_paused = true)]
async fn keys_are_kept_while_a_call_runs_or_waits_and_no_longer() {
    let layer = OrderLayer::serial(key_of);
    let handle = layer.handle();
    let mut service = layer.layer(Worker::new());
    let mut calls: Vec<_> = (0..1000)
        .flat_map(|key| [service.call(job(key, 0, 1)), service.call(job(key, 1, 1))])
        .map(task::spawn)
        .collect();
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    assert_eq!(handle.keys(), 1000);
    assert_eq!(handle.queued(), 1000);
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(handle.keys(), 0);
    assert_eq!(handle.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn keys_beyond_the_maximum_share_one_order() {
    let worker = Worker::new();
    let layer = OrderLayer::serial(key_of).max_keys(0);
    let mut service = layer.layer(worker.clone());
    let running = service.call(job(1, 1, 10));
    let mut other = task::spawn(service.call(job(2, 2, 0)));
    assert_pending!(other.poll());
    assert_eq!(worker.acts(), [Began(1, 0)]);
    assert_eq!(layer.handle().queued(), 1);
    assert_eq!(running.await.unwrap(), 1);
    assert_eq!(other.await.unwrap(), 2);
    assert_eq!(layer.handle().keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn keys_beyond_the_maximum_supersede_each_other_if_the_latest_wins() {
    let layer = OrderLayer::latest(key_of).max_keys(0);
    let mut service = layer.layer(Worker::new());
    let first = service.call(job(1, 1, 10));
    let mut second = task::spawn(service.call(job(2, 2, 0)));
    assert_pending!(second.poll());
    assert_eq!(reason(first.await), Reason::Superseded);
    assert_eq!(second.await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn keys_within_the_maximum_keep_their_own_order_beside_a_flood() {
    let layer = OrderLayer::serial(key_of).max_keys(16).queue(1000);
    let mut service = layer.layer(Worker::new());
    let known: Vec<_> = (0..200).map(|key| service.call(job(key, key, 1))).collect();
    let handle = layer.handle();
    assert!((1..=32).contains(&handle.keys()), "{} keys", handle.keys());
    for (key, call) in (0..).zip(known) {
        assert_eq!(call.await.unwrap(), key, "no call of the flood is lost");
    }
    assert_eq!(handle.keys(), 0);
    assert_eq!(service.clone().oneshot(job(1, 7, 1)).await.unwrap(), 7);
}

/// A key that shares the order keeps it while a call of the key runs, although there is room now.
#[tokio::test(start_paused = true)]
async fn key_beyond_the_maximum_keeps_its_turn_when_other_keys_leave() {
    let worker = Worker::new();
    // A key for each of the 16 shards, so that the keys below find no room.
    let layer = OrderLayer::serial(key_of).max_keys(16).queue(1000);
    let (mut service, handle) = (layer.layer(worker.clone()), layer.handle());
    let first: Vec<_> = (1000..1400).map(|key| service.call(job(key, 0, 1))).collect();
    assert_eq!(handle.keys(), 16, "each shard is full");
    let mut running = task::spawn(service.call(job(1, 1, 10)));
    assert_pending!(running.poll());
    for call in first {
        call.await.unwrap();
    }
    // The shared order is now that of the first key, and nothing else is in use.
    assert_pending!(running.poll());
    assert_eq!(handle.keys(), 0);
    let mut second = task::spawn(service.call(job(1, 2, 0)));
    assert_pending!(second.poll(), "two calls of a key run at a time");
    let mut other = task::spawn(service.call(job(2, 3, 0)));
    assert_eq!(other.poll().map(Result::unwrap), Poll::Ready(3), "there is room for other keys");
    assert_eq!(running.await.unwrap(), 1);
    assert_eq!(second.await.unwrap(), 2);
    // No call holds the shared order, so the key gets an order of its own.
    let _later = service.call(job(1, 4, 10));
    assert_eq!(handle.keys(), 1);
}

#[tokio::test(start_paused = true)]
async fn call_supersedes_a_call_beyond_the_maximum_when_there_is_room_again() {
    let layer = OrderLayer::latest(key_of).max_keys(16);
    let mut service = layer.layer(Worker::new());
    let others: Vec<_> = (1000..1400).map(|key| service.call(job(key, 0, 1))).collect();
    let mut running = task::spawn(service.call(job(1, 1, 10)));
    drop(others);
    assert_pending!(running.poll(), "the call has begun");
    assert_eq!(layer.handle().keys(), 0);
    let mut newest = task::spawn(service.call(job(1, 2, 0)));
    assert_pending!(newest.poll());
    assert_eq!(reason(running.await), Reason::Superseded);
    assert_eq!(newest.await.unwrap(), 2);
}

/// A key for requests of two types.
#[derive(Clone)]
struct Shard;

impl FixedKey for Shard {
    type Key = u32;
}

impl KeyOf<Job> for Shard {
    type Key = u32;

    fn key(&self, job: &Job) -> Option<u32> {
        Some(job.key)
    }
}

impl KeyOf<u64> for Shard {
    type Key = u32;

    fn key(&self, row: &u64) -> Option<u32> {
        u32::try_from(row % 4).ok()
    }
}

/// The services of different requests share the turns of a key.
#[tokio::test(start_paused = true)]
async fn fixed_key_orders_requests_of_several_types() {
    let row = || service_fn(|row: u64| async move { Ok::<_, BoxError>(row) });
    let serial = OrderLayer::serial_per(Shard);
    let running = serial.layer(Worker::new()).call(job(1, 1, 5));
    let mut rows = serial.layer(row());
    let mut waiting = task::spawn(rows.call(5));
    assert_pending!(waiting.poll());
    assert_eq!(rows.call(6).await.unwrap(), 6);
    assert_eq!(serial.handle().waiting(&1), 1);
    drop(running);
    assert_eq!(waiting.await.unwrap(), 5);
    let latest = OrderLayer::latest_per(Shard);
    let older = latest.layer(Worker::new()).call(job(1, 1, 5));
    let mut newest = task::spawn(latest.layer(row()).call(5));
    assert_pending!(newest.poll());
    assert_eq!(reason(older.await), Reason::Superseded);
    assert_eq!(newest.await.unwrap(), 5);
}
