//! Turns under the interleavings of up to three threads:
//! `RUSTFLAGS="--cfg buttress_loom" cargo test -p buttress-order --test loom --release`.
#![cfg(buttress_loom)]
#![expect(clippy::unwrap_used, reason = "a thread that panicked has failed the test")]

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use buttress_core::{BoxError, Plain, Reason, Rejection};
use buttress_order::{Order, OrderHandle, OrderLayer};
use loom::{
    future::block_on,
    model::Builder,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
};
use tower_layer::Layer;
use tower_service::Service;

/// A service that counts how many calls run at once.
#[derive(Clone)]
struct Crowd {
    inside: Arc<AtomicUsize>,
    /// Whether each call takes two polls.
    pauses: bool,
    /// Whether calls of the key may run at once.
    overlapping: bool,
}

struct Visit {
    crowd: Crowd,
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
        let inside = self.inside.fetch_add(1, SeqCst);
        assert!(inside == 0 || self.overlapping, "two calls of a key at once");
        Visit { crowd: self.clone(), entered: false }
    }
}

impl Future for Visit {
    type Output = Result<(), BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.entered || !self.crowd.pauses {
            return Poll::Ready(Ok(()));
        }
        self.entered = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.crowd.inside.fetch_sub(1, SeqCst);
    }
}

/// Explores with up to two preemptions.
fn explore(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(f);
}

type Key = fn(&u32) -> Option<u32>;

type Keyed = Order<Crowd, Plain, u32, Key>;

#[expect(
    clippy::trivially_copy_pass_by_ref,
    clippy::unnecessary_wraps,
    reason = "the shape of a key"
)]
fn own(key: &u32) -> Option<u32> {
    Some(*key)
}

fn serial(queue: usize) -> (Keyed, OrderHandle<u32>) {
    let layer = OrderLayer::serial(own as Key).queue(queue);
    (layer.layer(crowd(true, false)), layer.handle())
}

fn latest(pauses: bool) -> (Keyed, OrderHandle<u32>) {
    let layer = OrderLayer::latest(own as Key);
    (layer.layer(crowd(pauses, false)), layer.handle())
}

fn overlapping(pauses: bool) -> (Keyed, OrderHandle<u32>) {
    let layer = OrderLayer::latest(own as Key).overlapping();
    (layer.layer(crowd(pauses, true)), layer.handle())
}

fn crowd(pauses: bool, overlapping: bool) -> Crowd {
    Crowd { inside: Arc::default(), pauses, overlapping }
}

/// Makes a call and waits for its end. Returns whether the call was served and not superseded.
fn call(service: &Keyed) -> bool {
    match block_on(service.clone().call(0)) {
        Ok(()) => true,
        Err(error) => {
            let why = Rejection::find(&error).map(Rejection::reason);
            assert_eq!(why, Some(Reason::Superseded), "{error}");
            false
        }
    }
}

/// Polls a call once and leaves.
fn give_up(service: &Keyed) {
    let mut call = pin!(service.clone().call(0));
    let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

fn at_rest(handle: &OrderHandle<u32>) {
    assert_eq!(handle.queued(), 0);
    assert_eq!(handle.keys(), 0);
}

#[test]
fn serial_calls_run_one_at_a_time_and_all_are_served() {
    explore(|| {
        let (service, handle) = serial(2);
        let threads = [(); 2].map(|()| {
            let service = service.clone();
            thread::spawn(move || assert!(call(&service)))
        });
        assert!(call(&service));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        at_rest(&handle);
    });
}

#[test]
fn turn_of_a_leaving_call_goes_to_the_next_waiter() {
    explore(|| {
        let (service, handle) = serial(2);
        let (leaving, waiting) = (service.clone(), service.clone());
        let held = service.clone().call(0);
        let leaving = thread::spawn(move || give_up(&leaving));
        let waiting = thread::spawn(move || assert!(call(&waiting)));
        drop(held);
        leaving.join().unwrap();
        waiting.join().unwrap();
        at_rest(&handle);
    });
}

#[test]
fn two_waiters_leave_while_the_running_call_ends() {
    explore(|| {
        let (service, handle) = serial(2);
        let held = service.clone().call(0);
        let waiting = [(); 2].map(|()| service.clone().call(0));
        let threads = waiting.map(|waiting| thread::spawn(move || drop(waiting)));
        drop(held);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        at_rest(&handle);
        assert!(call(&service), "the turn is free");
    });
}

#[test]
fn free_key_is_never_reported_as_full() {
    explore(|| {
        let (service, handle) = serial(1);
        let other = service.clone();
        let thread = thread::spawn(move || assert!(call(&other)));
        assert!(call(&service));
        thread.join().unwrap();
        assert_eq!(handle.full(), 0);
        at_rest(&handle);
    });
}

/// Makes a call on this thread and one on each of `threads` others.
fn all_end((service, handle): (Keyed, OrderHandle<u32>), threads: usize) {
    let calls: Vec<_> = (0..threads)
        .map(|_| {
            let service = service.clone();
            thread::spawn(move || call(&service))
        })
        .collect();
    let mut served = usize::from(call(&service));
    for thread in calls {
        served += usize::from(thread.join().unwrap());
    }
    assert!(served >= 1, "the latest call is served");
    assert_eq!(handle.superseded(), u64::try_from(1 + threads - served).unwrap());
    at_rest(&handle);
}

#[test]
fn three_latest_wins_calls_run_one_at_a_time_and_all_end() {
    explore(|| all_end(latest(false), 2));
}

#[test]
fn two_latest_wins_calls_that_pause_run_one_at_a_time_and_all_end() {
    explore(|| all_end(latest(true), 1));
}

#[test]
fn latest_call_begins_while_another_waiter_leaves() {
    explore(|| {
        let (service, handle) = latest(true);
        let held = service.clone().call(0);
        let (leaving, waiting) = (service.clone(), service.clone());
        let leaving = thread::spawn(move || give_up(&leaving));
        let waiting = thread::spawn(move || call(&waiting));
        drop(held);
        leaving.join().unwrap();
        waiting.join().unwrap();
        at_rest(&handle);
        assert!(call(&service), "the turn is free");
    });
}

#[test]
fn newest_call_begins_whether_the_running_call_ends_or_is_superseded() {
    explore(|| {
        let (service, handle) = latest(true);
        let mut held = Box::pin(service.clone().call(0));
        let other = service.clone();
        let newest = thread::spawn(move || assert!(call(&other)));
        // Served or superseded, and in both cases the newest call begins.
        let _ = block_on(std::future::poll_fn(|cx| held.as_mut().poll(cx)));
        newest.join().unwrap();
        at_rest(&handle);
    });
}

/// A call that never ends by itself: only the wake of a later call ends it.
#[test]
fn wake_of_a_superseded_call_is_never_lost() {
    #[derive(Clone)]
    struct Endless;
    impl Service<u32> for Endless {
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
    explore(|| {
        let layer = OrderLayer::latest(own as Key);
        let (mut service, mut other) = (layer.layer(Endless), layer.layer(Endless));
        let first = service.call(0);
        let thread = thread::spawn(move || {
            let mut newest = Box::pin(other.call(0));
            let _ = newest.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            newest
        });
        let error = block_on(first).unwrap_err();
        assert_eq!(Rejection::find(&error).map(Rejection::reason), Some(Reason::Superseded));
        drop(thread.join().unwrap());
        at_rest(&layer.handle());
    });
}

#[test]
fn later_call_and_the_granted_call_never_run_at_once() {
    explore(|| {
        let (service, handle) = latest(true);
        let held = service.clone().call(0);
        let waiting = service.clone().call(0);
        let waiting = thread::spawn(move || block_on(waiting).is_ok());
        let other = service.clone();
        let newest = thread::spawn(move || assert!(call(&other)));
        drop(held);
        waiting.join().unwrap();
        newest.join().unwrap();
        at_rest(&handle);
    });
}

#[test]
fn three_overlapping_calls_all_end_and_the_latest_is_served() {
    explore(|| all_end(overlapping(false), 2));
}

#[test]
fn two_overlapping_calls_that_pause_all_end_and_the_latest_is_served() {
    explore(|| all_end(overlapping(true), 1));
}

#[test]
fn key_has_a_single_order_while_it_is_dropped_and_created_again() {
    explore(|| {
        let (service, handle) = serial(2);
        let other = service.clone();
        let thread = thread::spawn(move || assert!(call(&other)));
        // Lookups of other keys make the table drop unused keys.
        assert!(handle.keys() <= 1);
        assert!(call(&service));
        thread.join().unwrap();
        at_rest(&handle);
    });
}
