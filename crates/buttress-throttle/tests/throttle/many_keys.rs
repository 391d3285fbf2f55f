//! The number of keys that the table keeps, and keys beyond the maximum.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use buttress_core::{BoxError, Reason};
use buttress_throttle::ThrottleLayer;
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceExt, service_fn};
use tower_service::Service;

use crate::support::{limited, reason, worker};

/// A key that shows how many of its kind are kept: asking for the number of keys forgets some.
#[derive(Clone, Debug)]
struct Tenant(u32, #[expect(dead_code, reason = "counted while its key is kept")] Arc<()>);

impl PartialEq for Tenant {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Tenant {}

impl Hash for Tenant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[tokio::test(start_paused = true)]
async fn table_stays_small_while_a_million_keys_come_and_go() {
    let alive = Arc::new(());
    let tenant = Arc::clone(&alive);
    let layer = ThrottleLayer::concurrency(1)
        .keyed(move |number: &u32| Some(Tenant(*number, Arc::clone(&tenant))));
    let mut service = layer.layer(service_fn(|key: u32| async move { Ok::<_, BoxError>(key) }));
    let idle = Arc::strong_count(&alive);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut most = 0;
    for key in 0..1_000_000 {
        assert!(task::spawn(service.call(key)).poll().is_ready());
        assert!(service.poll_ready(&mut cx).is_ready());
        most = most.max(Arc::strong_count(&alive) - idle);
    }
    assert!((1..5_000).contains(&most), "{most} keys at once");
    assert_eq!(layer.handle().keys(), 0);
    assert_eq!(layer.handle().admitted(), 1_000_000);
    assert_eq!(Arc::strong_count(&alive), idle);
}

#[tokio::test(start_paused = true)]
async fn keys_beyond_the_maximum_share_a_limit() {
    let layer = ThrottleLayer::concurrency(1).keyed(|key: &u64| Some(*key)).max_keys(0);
    let service = limited(&layer);
    let mut running = task::spawn(service.clone().oneshot(10));
    assert_pending!(running.poll());
    assert_eq!(reason(service.clone().oneshot(11).await), Reason::Overloaded);
    assert_eq!(layer.handle().keys(), 0);
    running.await.unwrap();
    assert_eq!(service.oneshot(11).await.unwrap(), 11);
}

#[tokio::test(start_paused = true)]
async fn unused_key_makes_room_for_a_new_key() {
    let layer = ThrottleLayer::concurrency(1).keyed(|key: &u64| Some(*key)).max_keys(1);
    let service = limited(&layer);
    for key in 0..60 {
        service.clone().oneshot(key).await.unwrap();
    }
    let mut new = task::spawn(service.oneshot(100));
    assert_pending!(new.poll());
    assert_eq!(layer.handle().keys(), 1);
}

#[tokio::test(start_paused = true)]
async fn max_keys_applies_to_each_service() {
    let layer = ThrottleLayer::concurrency(1).keyed(|key: &u64| Some(*key)).max_keys(0);
    let service = layer.per_service().layer(worker());
    let mut busy = task::spawn(service.clone().oneshot(10));
    assert_pending!(busy.poll());
    assert_eq!(reason(service.oneshot(11).await), Reason::Overloaded);
}

#[tokio::test(start_paused = true)]
async fn nested_key_in_the_overflow_keeps_its_outer_key_in_use() {
    let layer = ThrottleLayer::concurrency(1)
        .keyed(|millis: &u64| Some(*millis))
        .max_keys(0)
        .keyed(|millis: &u64| Some(*millis));
    let service = limited(&layer);
    let mut running = task::spawn(service.clone().oneshot(10));
    assert_pending!(running.poll());
    assert_eq!(layer.handle().keys(), 1);
    assert_eq!(reason(service.clone().oneshot(10).await), Reason::Overloaded);
    running.await.unwrap();
    assert_eq!(layer.handle().keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn limit_set_for_keys_applies_to_the_shared_overflow() {
    let layer = ThrottleLayer::concurrency(0).keyed(|key: &u64| Some(*key)).max_keys(0);
    layer.handle().set_limit(1);
    assert_eq!(limited(&layer).oneshot(10).await.unwrap(), 10);
}
