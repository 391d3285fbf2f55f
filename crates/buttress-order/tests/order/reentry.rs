//! Calls inside calls of the same key, and user code that comes back to the layer.

use std::{
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, OnceLock},
    task::{Context, Wake, Waker},
};

use buttress_core::{BoxError, Deadline, Reason};
use buttress_order::OrderLayer;
use tokio::time::Instant;
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, ServiceExt, service_fn};
use tower_service::Service;

use crate::support::{Worker, job, key_of, ms, reason};

/// O5.
#[tokio::test(start_paused = true)]
async fn serial_call_nested_in_its_own_key_ends_at_its_deadline() {
    let layer = OrderLayer::serial(|_: &bool| Some(()));
    let nested = layer.layer(service_fn(|_: bool| async { Ok::<_, BoxError>(Reason::Panicked) }));
    let service = layer.layer(service_fn(move |_: bool| {
        let nested = nested.clone();
        async move { Ok::<_, BoxError>(reason(nested.oneshot(true).await)) }
    }));
    let start = Instant::now();
    let outcome = Deadline::after(ms(30)).around(service.oneshot(false)).await;
    assert_eq!(outcome.unwrap(), Reason::DeadlineExceeded);
    assert!(start.elapsed() >= ms(30) && start.elapsed() < ms(35));
    assert_eq!(layer.handle().keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn latest_wins_call_nested_in_its_own_key_drops_both() {
    let layer = OrderLayer::latest(|_: &bool| Some(()));
    let nested = layer.layer(service_fn(|_: bool| async { Ok::<_, BoxError>(()) }));
    let service = layer.layer(service_fn(move |_: bool| {
        let nested = nested.clone();
        async move { nested.oneshot(true).await }
    }));
    assert_eq!(reason(service.oneshot(false).await), Reason::Superseded);
    assert_eq!(layer.handle().keys(), 0);
    assert_eq!(layer.handle().superseded(), 1);
}

/// A waker that owns a call, which ends with it.
struct Owner<T>(Mutex<T>);

impl<T: Send> Wake for Owner<T> {
    fn wake(self: Arc<Self>) {}
}

/// The waker of a waiter is dropped outside the lock.
#[tokio::test(start_paused = true)]
async fn waker_that_owns_the_running_call_passes_the_turn_on() {
    let layer = OrderLayer::serial(key_of);
    let mut service = layer.layer(Worker::new());
    let running = service.call(job(1, 0, 100));
    let mut waiting = Box::pin(service.call(job(1, 1, 0)));
    let owner = Waker::from(Arc::new(Owner(Mutex::new(running))));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&owner)).is_pending());
    drop(owner);
    // The new waker replaces the former, whose drop ends the running call. That wakes this waiter.
    let mut waiting = task::spawn(waiting);
    assert_pending!(waiting.poll());
    assert!(waiting.is_woken());
    assert_eq!(waiting.await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn waker_that_makes_a_call_of_the_key_is_woken_outside_the_lock() {
    /// Makes a call of the key when it is woken.
    struct Caller(Mutex<Box<dyn FnMut() + Send>>);
    impl Wake for Caller {
        fn wake(self: Arc<Self>) {
            (self.0.lock().unwrap())();
        }
    }
    let layer = OrderLayer::latest(key_of);
    let mut service = layer.layer(Worker::new());
    let mut running = Box::pin(service.call(job(1, 0, 100)));
    let (again, made) = (service.clone(), Arc::new(OnceLock::new()));
    let (mut once, calls) = (Some(again), Arc::clone(&made));
    let caller = Caller(Mutex::new(Box::new(move || {
        if let Some(mut service) = once.take() {
            let call = Mutex::new(Box::pin(service.call(job(1, 2, 0))));
            assert!(calls.set(call).is_ok());
        }
    })));
    let waker = Waker::from(Arc::new(caller));
    assert!(running.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let second = service.call(job(1, 1, 0));
    assert_eq!(reason(second.await), Reason::Superseded, "by the call that the wake has made");
    assert_eq!(reason(running.await), Reason::Superseded);
    let last = std::future::poll_fn(|cx| made.get().unwrap().lock().unwrap().as_mut().poll(cx));
    assert_eq!(last.await.unwrap(), 2);
    assert_eq!(layer.handle().superseded(), 2);
}

type Prying = Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>;

/// A key that pries when it is dropped.
#[derive(Clone)]
struct Key(u32, Prying);

impl Drop for Key {
    fn drop(&mut self) {
        if let Some(look) = self.1.get() {
            look();
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[tokio::test(start_paused = true)]
async fn key_that_asks_the_handle_while_it_is_dropped_finds_no_lock_held() {
    let prying = Prying::default();
    let own = Arc::clone(&prying);
    let layer = OrderLayer::serial(move |n: &u32| Some(Key(*n, Arc::clone(&own))));
    let handle = layer.handle();
    assert!(prying.set(Box::new(move || assert!(handle.keys() <= 1))).is_ok());
    let mut service = layer.layer(service_fn(|n: u32| async move { Ok::<_, BoxError>(n) }));
    for _ in 0..3 {
        assert_eq!(assert_ready!(task::spawn(service.call(7)).poll()).unwrap(), 7);
    }
}
