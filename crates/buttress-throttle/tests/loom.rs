//! Permits, cells, queue places and keys under the interleavings of up to three threads:
//! `RUSTFLAGS="--cfg buttress_loom" cargo test -p buttress-throttle --test loom --release`.
#![cfg(buttress_loom)]
#![expect(clippy::unwrap_used, reason = "a thread that panicked has failed the test")]

#[path = "loom/fleet.rs"]
mod fleet;
#[expect(dead_code, reason = "no model puts cells back")]
#[path = "../src/fleet/slots.rs"]
mod slots;

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use buttress_core::{BoxError, Plain, Rejection};
use buttress_throttle::{Limit, Rate, RateLimit, ThrottleLayer};
use loom::{
    future::block_on,
    model::Builder,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
};
use tower_layer::Layer;
use tower_service::Service;

/// A service that counts how many calls run at once, each for two polls.
#[derive(Clone)]
struct Crowd(Arc<AtomicUsize>);

struct Visit {
    crowd: Arc<AtomicUsize>,
    entered: bool,
}

impl Service<u32> for Crowd {
    type Response = ();
    type Error = BoxError;
    type Future = Visit;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u32) -> Visit {
        Visit { crowd: Arc::clone(&self.0), entered: false }
    }
}

impl Future for Visit {
    type Output = Result<(), BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.entered {
            return Poll::Ready(Ok(()));
        }
        self.entered = true;
        assert_eq!(self.crowd.fetch_add(1, SeqCst), 0, "two calls at once under a limit of one");
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if self.entered {
            self.crowd.fetch_sub(1, SeqCst);
        }
    }
}

/// Explores with up to two preemptions. With three it finds no more, and takes minutes.
fn explore(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(f);
}

fn call<L: Limit<u32> + 'static>(
    layer: &ThrottleLayer<Plain, L>,
    crowd: &Arc<AtomicUsize>,
    key: u32,
) -> Result<(), BoxError> {
    let mut service = layer.layer(Crowd(Arc::clone(crowd)));
    block_on(service.call(key))
}

/// Polls a call once and leaves.
fn give_up(layer: &ThrottleLayer, crowd: &Arc<AtomicUsize>) {
    let mut service = layer.layer(Crowd(Arc::clone(crowd)));
    let mut call = pin!(service.call(0));
    let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

#[test]
fn returned_permit_reaches_every_waiter() {
    explore(|| {
        let (layer, crowd) = (ThrottleLayer::concurrency(1).queue(2), Arc::default());
        let threads = [(); 2].map(|()| {
            let (layer, crowd) = (layer.clone(), Arc::clone(&crowd));
            thread::spawn(move || call(&layer, &crowd, 0).unwrap())
        });
        call(&layer, &crowd, 0).unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(layer.handle().in_flight(), 0);
        assert_eq!(layer.handle().queued(), 0);
        assert_eq!(layer.handle().admitted(), 3);
    });
}

#[test]
fn permit_granted_to_a_leaving_call_goes_to_the_next_waiter() {
    explore(|| {
        let (layer, crowd) = (ThrottleLayer::concurrency(1).queue(2), Arc::default());
        let (leaving, waiting) = ((layer.clone(), Arc::clone(&crowd)), (layer.clone(), crowd));
        let held = hold(&layer);
        let leaving = thread::spawn(move || give_up(&leaving.0, &leaving.1));
        let waiting = thread::spawn(move || call(&waiting.0, &waiting.1, 0).unwrap());
        drop(held);
        leaving.join().unwrap();
        waiting.join().unwrap();
        assert_eq!(layer.handle().in_flight(), 0);
        assert_eq!(layer.handle().queued(), 0);
    });
}

#[test]
fn raised_limit_reaches_a_call_that_is_enqueuing() {
    explore(|| {
        let (layer, crowd) = (ThrottleLayer::concurrency(0).queue(2), Arc::default());
        let (one, other) = ((layer.clone(), Arc::clone(&crowd)), (layer.clone(), crowd));
        let one = thread::spawn(move || call(&one.0, &one.1, 0).unwrap());
        let other = thread::spawn(move || call(&other.0, &other.1, 0).unwrap());
        layer.handle().set_limit(1);
        one.join().unwrap();
        other.join().unwrap();
        assert_eq!(layer.handle().in_flight(), 0);
    });
}

/// A rate that has no cells until it is raised, for no time passes here.
fn shut(queue: usize) -> ThrottleLayer<Plain, RateLimit> {
    ThrottleLayer::rate(Rate::per_hour(0)).queue(queue)
}

/// A crowd for a single call, because a rate does not keep calls apart.
fn alone() -> Arc<AtomicUsize> {
    Arc::default()
}

#[test]
fn raised_rate_reaches_a_call_that_is_enqueuing() {
    explore(|| {
        let layer = shut(2);
        let threads = [(); 2].map(|()| {
            let layer = layer.clone();
            thread::spawn(move || call(&layer, &alone(), 0).unwrap())
        });
        layer.handle().set_rate(Rate::per_hour(2));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let handle = layer.handle();
        assert_eq!(handle.queued(), 0);
        assert_eq!(handle.tokens(), 0);
        assert_eq!(handle.admitted(), 2);
    });
}

#[test]
fn cell_granted_to_a_leaving_call_goes_to_the_next_waiter() {
    explore(|| {
        let layer = shut(2);
        let (leaving, waits) = (hold(&layer), hold(&layer));
        layer.handle().set_rate(Rate::per_hour(1));
        let waiting = layer.clone();
        let waiting = thread::spawn(move || call(&waiting, &alone(), 0).unwrap());
        let leaves = thread::spawn(move || drop(waits));
        drop(leaving);
        leaves.join().unwrap();
        waiting.join().unwrap();
        assert_eq!(layer.handle().queued(), 0);
        assert_eq!(layer.handle().admitted(), 1);
    });
}

#[test]
fn new_call_takes_no_cell_that_is_due_to_a_waiter() {
    explore(|| {
        let layer = shut(2);
        let first = hold(&layer);
        let newcomer = layer.clone();
        let newcomer = thread::spawn(move || drop(hold(&newcomer)));
        layer.handle().set_rate(Rate::per_hour(1));
        newcomer.join().unwrap();
        assert_eq!(layer.handle().admitted(), 0);
        assert_eq!(layer.handle().queued(), 0);
        let mut first = pin!(first);
        let _ = first.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(layer.handle().admitted(), 1);
    });
}

#[test]
fn free_permit_is_never_reported_as_full() {
    explore(|| {
        let (layer, crowd) = (ThrottleLayer::concurrency(2), Arc::default());
        let (one, other) = ((layer.clone(), Arc::<AtomicUsize>::default()), layer.clone());
        let one = thread::spawn(move || call(&one.0, &one.1, 0).unwrap());
        call(&other, &crowd, 0).unwrap();
        one.join().unwrap();
        assert_eq!(layer.handle().rejected(), 0);
    });
}

#[test]
fn limit_set_for_all_keys_applies_to_a_key_being_created() {
    explore(|| {
        let layer = ThrottleLayer::concurrency(1).keyed(|key: &u32| Some(*key));
        let making = layer.clone();
        let making = thread::spawn(move || hold(&making));
        layer.handle().set_limit(2);
        let _held = making.join().unwrap();
        assert_eq!(layer.handle().for_key(&0).unwrap().limit(), 2);
    });
}

#[test]
fn key_has_a_single_limit_while_it_is_dropped_and_created_again() {
    explore(|| {
        let layer = ThrottleLayer::concurrency(1).keyed(|key: &u32| Some(*key));
        let crowd = Arc::default();
        let (one, other) =
            ((layer.clone(), Arc::clone(&crowd)), (layer.clone(), Arc::clone(&crowd)));
        let one = thread::spawn(move || served(call(&one.0, &one.1, 7)));
        let other = thread::spawn(move || served(call(&other.0, &other.1, 7)));
        // Lookups of other keys make the table drop unused keys.
        let elsewhere = Arc::default();
        call(&layer, &elsewhere, 1).unwrap();
        call(&layer, &elsewhere, 2).unwrap();
        let served = one.join().unwrap() + other.join().unwrap();
        assert!(served >= 1, "the first call is served");
        assert_eq!(layer.handle().keys(), 0);
    });
}

/// A call that holds a permit until it is dropped.
fn hold<L: Limit<u32> + 'static>(
    layer: &ThrottleLayer<Plain, L>,
) -> impl Future<Output = Result<(), BoxError>> + use<L> {
    let mut service = layer.layer(Idle);
    service.call(0)
}

#[derive(Clone)]
struct Idle;

impl Service<u32> for Idle {
    type Response = ();
    type Error = BoxError;
    type Future = std::future::Pending<Result<(), BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u32) -> Self::Future {
        std::future::pending()
    }
}

fn served(outcome: Result<(), BoxError>) -> u32 {
    match outcome {
        Ok(()) => 1,
        Err(error) => {
            assert!(Rejection::find(&error).is_some(), "{error}");
            0
        }
    }
}
