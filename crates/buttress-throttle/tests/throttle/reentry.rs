//! Users' code that comes back to the limit while that is busy with it: wakers, weights and keys.

use std::{
    hash::{Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

use buttress_core::{BoxError, Criticality, Deadline, Reason};
use buttress_testkit::counts;
use buttress_throttle::{Cost, Rate, ThrottleLayer, ThrottleSnapshot};
use tokio::time::advance;
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{limited, ms, reason};

/// A waker that owns something, a call say, which ends with it.
struct Owner<T>(Mutex<T>);

impl<T: Send> Wake for Owner<T> {
    fn wake(self: Arc<Self>) {}
}

#[tokio::test(start_paused = true)]
async fn permit_granted_during_the_timeout_is_taken() {
    let layer = ThrottleLayer::concurrency(1).queue(1);
    let (service, handle) = (limited(&layer), layer.handle());
    let mut cx = Context::from_waker(Waker::noop());
    let mut running = Box::pin(service.clone().oneshot(1000));
    assert!(running.as_mut().poll(&mut cx).is_pending());
    let mut waiting = Box::pin(Deadline::after(ms(5)).around(service.oneshot(10)));
    let owner = Waker::from(Arc::new(Owner(Mutex::new(running))));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&owner)).is_pending());
    drop(owner);
    advance(ms(6)).await;
    let expected = counts!(ThrottleSnapshot {
        admitted: [0, 0, 1, 0],
        queued: 1,
        in_flight: Some(1),
        limit: Some(1)
    });
    assert_eq!(handle.snapshot(), expected);
    // It lets go of its former waker, and that of the running call.
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    let expected =
        counts!(ThrottleSnapshot { admitted: [0, 0, 2, 0], in_flight: Some(1), limit: Some(1) });
    assert_eq!(handle.snapshot(), expected);
    assert_eq!(waiting.await.unwrap(), 10);
    assert_eq!(handle.in_flight(), 0);
}

/// A waker that panics instead of waking its task.
struct Broken;

impl Wake for Broken {
    fn wake(self: Arc<Self>) {
        panic!("as told");
    }
}

#[tokio::test(start_paused = true)]
async fn call_killed_by_a_foreign_waker_leaves_no_place() {
    let layer = ThrottleLayer::concurrency(0).queue(1);
    let (service, handle) = (limited(&layer), layer.handle());
    let mut least = Box::pin(Criticality::Sheddable.around(service.clone().oneshot(10)));
    let broken = Waker::from(Arc::new(Broken));
    assert!(least.as_mut().poll(&mut Context::from_waker(&broken)).is_pending());
    let mut call = Box::pin(service.clone().oneshot(10));
    let mut cx = Context::from_waker(Waker::noop());
    catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut cx))).unwrap_err();
    drop((least, call));
    assert_eq!(handle.queued(), 0);
    handle.set_limit(1);
    assert_eq!(service.oneshot(10).await.unwrap(), 10);
}

/// What the users' own code does wherever it is run.
type Prying = Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>;

fn pry(prying: &Prying) {
    if let Some(look) = prying.get() {
        look();
    }
}

/// A weight that pries when it is cloned.
struct Weight(Prying);

impl Clone for Weight {
    fn clone(&self) -> Self {
        pry(&self.0);
        Self(Arc::clone(&self.0))
    }
}

impl Cost<u32> for Weight {
    fn cost(&self, _: &u32) -> u32 {
        1
    }
}

#[tokio::test(start_paused = true)]
async fn cost_is_cloned_outside_the_lock_of_the_table() {
    let prying = Prying::default();
    let layer = ThrottleLayer::rate(Rate::per_second(2))
        .cost(Weight(Arc::clone(&prying)))
        .keyed(|key: &u32| Some(*key));
    let handle = layer.handle();
    let service = layer.layer(service_fn(|key: u32| async move { Ok::<_, BoxError>(key) }));
    let seen = handle.clone();
    assert!(prying.set(Box::new(move || assert!(seen.keys() <= 1))).is_ok());
    service.clone().oneshot(7).await.unwrap();
    service.clone().oneshot(7).await.unwrap();
    assert_eq!(handle.for_key(&7).unwrap().tokens(), 0);
    handle.set_rate(Rate::per_second(1));
    assert_eq!(handle.admitted(), 2);
}

#[tokio::test(start_paused = true)]
async fn key_is_in_use_while_its_cost_is_computed() {
    let prying = Prying::default();
    let weighing = Arc::clone(&prying);
    let weigh = move |_: &u32| {
        pry(&weighing);
        1
    };
    let layer = ThrottleLayer::rate(Rate::per_second(1)).cost(weigh).keyed(|key: &u32| Some(*key));
    let service = layer.layer(service_fn(|key: u32| async move { Ok::<_, BoxError>(key) }));
    let seen = layer.handle();
    assert!(prying.set(Box::new(move || assert_eq!(seen.keys(), 1))).is_ok());
    service.clone().oneshot(7).await.unwrap();
    assert_eq!(reason(service.oneshot(7).await), Reason::RateLimited);
}

/// A key that pries when it is dropped.
#[derive(Clone)]
struct Key(Prying);

impl Drop for Key {
    fn drop(&mut self) {
        pry(&self.0);
    }
}

impl PartialEq for Key {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

#[tokio::test(start_paused = true)]
async fn nested_key_is_dropped_outside_the_lock_of_the_table() {
    let prying = Prying::default();
    let inner = Arc::clone(&prying);
    let layer = ThrottleLayer::concurrency(1)
        .keyed(move |_: &u32| Some(Key(Arc::clone(&inner))))
        .keyed(|key: &u32| Some(*key));
    let handle = layer.handle();
    let service = layer.layer(service_fn(|key: u32| async move { Ok::<_, BoxError>(key) }));
    service.clone().oneshot(7).await.unwrap();
    let seen = handle.clone();
    assert!(prying.set(Box::new(move || assert_eq!(seen.keys(), 0))).is_ok());
    assert_eq!(handle.keys(), 0);
    assert_eq!(handle.admitted(), 1);
}

#[tokio::test(start_paused = true)]
async fn rate_set_for_keys_applies_to_a_key_being_created() {
    let prying = Prying::default();
    let layer = ThrottleLayer::rate(Rate::per_second(2))
        .cost(Weight(Arc::clone(&prying)))
        .keyed(|key: &u32| Some(*key));
    let handle = layer.handle();
    let service = layer.layer(service_fn(|key: u32| async move { Ok::<_, BoxError>(key) }));
    let (change, first) = (handle.clone(), AtomicBool::new(true));
    let once = move || {
        if first.swap(false, Ordering::Relaxed) {
            change.set_rate(Rate::per_second(9));
        }
    };
    assert!(prying.set(Box::new(once)).is_ok());
    service.oneshot(7).await.unwrap();
    assert_eq!(handle.for_key(&7).unwrap().rates(), [Rate::per_second(9)]);
}
