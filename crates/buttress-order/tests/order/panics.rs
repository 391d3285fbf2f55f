//! User code that panics: the turn passes on, and no waiter is forgotten.

use std::{
    hash::{Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use buttress_core::{BoxError, Reason};
use buttress_order::{OrderLayer, OrderSnapshot};
use buttress_testkit::counts;
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneService};
use tower_service::Service;

use crate::support::{Worker, job, key_of, reason};

fn panics<T>(f: impl FnOnce() -> T) {
    assert!(catch_unwind(AssertUnwindSafe(f)).is_err(), "it should have panicked");
}

/// Where the service panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Nowhere,
    Call,
    Poll,
    Drop,
}

struct Bomb {
    place: Place,
    polled: bool,
}

impl Future for Bomb {
    type Output = Result<(), BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(self.place != Place::Poll, "as told");
        if std::mem::replace(&mut self.polled, true) {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(self.place != Place::Drop || std::thread::panicking(), "as told");
    }
}

fn bombs() -> impl Service<Place, Response = (), Error = BoxError, Future: Send> + Clone + Send {
    #[derive(Clone)]
    struct Bombs;
    impl Service<Place> for Bombs {
        type Response = ();
        type Error = BoxError;
        type Future = Bomb;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, place: Place) -> Bomb {
            assert!(place != Place::Call, "as told");
            Bomb { place, polled: false }
        }
    }
    Bombs
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    clippy::unnecessary_wraps,
    reason = "the shape of a key"
)]
fn all(_: &Place) -> Option<()> {
    Some(())
}

#[tokio::test(start_paused = true)]
async fn turn_passes_on_when_the_running_call_panics() {
    let (serial, latest) = (OrderLayer::serial(all), OrderLayer::latest(all));
    for place in [Place::Call, Place::Poll, Place::Drop] {
        for is_serial in [true, false] {
            let mut service: BoxCloneService<_, _, _> = if is_serial {
                BoxCloneService::new(serial.layer(bombs()))
            } else {
                BoxCloneService::new(latest.layer(bombs()))
            };
            if place == Place::Call {
                panics(|| drop(service.call(place)));
            } else {
                let mut call = service.call(place);
                let mut cx = Context::from_waker(Waker::noop());
                panics(move || {
                    let _ = call.as_mut().poll(&mut cx);
                    drop(call);
                });
            }
            service.call(Place::Nowhere).await.unwrap();
        }
    }
    assert_eq!((serial.handle().keys(), latest.handle().keys()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn turn_passes_to_the_waiter_when_the_running_call_panics() {
    for place in [Place::Poll, Place::Drop] {
        let layer = OrderLayer::serial(all);
        let mut service = layer.layer(bombs());
        let mut running = Box::pin(service.call(place));
        let mut waiting = task::spawn(service.call(Place::Nowhere));
        assert_pending!(waiting.poll());
        panics(move || {
            let _ = running.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            drop(running);
        });
        assert!(waiting.is_woken());
        waiting.await.unwrap();
        assert_eq!(layer.handle().keys(), 0);
    }
}

/// The waiter that begins calls the service in its own poll.
#[tokio::test(start_paused = true)]
async fn turn_passes_on_when_a_waiter_panics_as_it_begins() {
    let layer = OrderLayer::serial(all);
    let mut service = layer.layer(bombs());
    let running = service.call(Place::Nowhere);
    let mut bad = Box::pin(service.call(Place::Call));
    let mut next = task::spawn(service.call(Place::Nowhere));
    assert_pending!(next.poll());
    running.await.unwrap();
    panics(move || {
        let _ = bad.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    });
    assert!(next.is_woken());
    next.await.unwrap();
    assert_eq!(layer.handle().keys(), 0);
}

/// The drop of superseded work panics.
#[tokio::test(start_paused = true)]
async fn newest_call_begins_when_the_drop_of_superseded_work_panics() {
    let layer = OrderLayer::latest(all);
    let mut service = layer.layer(bombs());
    let mut first = Box::pin(service.call(Place::Drop));
    let mut newest = task::spawn(service.call(Place::Nowhere));
    assert_pending!(newest.poll());
    panics(move || {
        let _ = first.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    });
    assert!(newest.is_woken());
    newest.await.unwrap();
    assert_eq!(layer.handle().keys(), 0);
    assert_eq!(layer.handle().superseded(), 1);
}

/// A waker that panics.
struct Panicking;

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        panic!("as told");
    }
}

fn panicking() -> Waker {
    Waker::from(Arc::new(Panicking))
}

#[tokio::test(start_paused = true)]
async fn panicking_waker_of_the_next_call_costs_no_turn() {
    let layer = OrderLayer::serial(key_of);
    let mut service = layer.layer(Worker::new());
    let running = service.call(job(1, 0, 1));
    let mut broken = Box::pin(service.call(job(1, 1, 0)));
    let waker = panicking();
    assert!(broken.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let mut whole = task::spawn(service.call(job(1, 2, 0)));
    assert_pending!(whole.poll());
    panics(|| drop(running));
    // The broken waiter has the turn. When it leaves, the turn passes on.
    drop(broken);
    assert!(whole.is_woken());
    assert_eq!(whole.await.unwrap(), 2);
    assert_eq!(layer.handle().keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn panicking_waker_of_a_superseded_call_leaves_no_place() {
    for overlapping in [false, true] {
        let (latest, other) =
            (OrderLayer::latest(key_of), OrderLayer::latest(key_of).overlapping());
        let mut service = if overlapping {
            other.layer(Worker::new()).boxed_clone()
        } else {
            latest.layer(Worker::new()).boxed_clone()
        };
        let mut running = service.call(job(1, 0, 1));
        let waker = panicking();
        assert!(running.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        panics(|| drop(service.call(job(1, 1, 0))));
        assert_eq!(latest.handle().queued(), 0);
        // The call that panicked has superseded the running call before.
        assert_eq!(reason(running.await), Reason::Superseded);
        assert_eq!(service.call(job(1, 2, 0)).await.unwrap(), 2);
        drop(service);
        assert_eq!((latest.handle().keys(), other.handle().keys()), (0, 0));
    }
}

/// A second panic while the first unwinds would abort the process.
#[tokio::test(start_paused = true)]
async fn panicking_waker_during_unwinding_does_not_abort() {
    let layer = OrderLayer::serial(all);
    let mut service = layer.layer(bombs());
    let mut running = Box::pin(service.call(Place::Poll));
    let mut broken = Box::pin(service.call(Place::Nowhere));
    assert!(broken.as_mut().poll(&mut Context::from_waker(&panicking())).is_pending());
    panics(move || {
        let _ = running.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    });
    broken.await.unwrap();
    assert_eq!(layer.handle().keys(), 0);
}

/// Keys whose comparison, hash or drop panics when the test says so.
#[derive(Clone, Debug)]
struct Key(u32, Arc<[AtomicBool; 3]>);

impl Key {
    fn may_panic(&self, which: usize) {
        let told = self.1.get(which).is_some_and(|told| told.swap(false, Ordering::Relaxed));
        assert!(!told, "as told");
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.may_panic(0);
        self.0 == other.0
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.may_panic(1);
        self.0.hash(state);
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.may_panic(2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn panicking_key_costs_no_turn() {
    let broken = Arc::<[AtomicBool; 3]>::default();
    let own = Arc::clone(&broken);
    let layer = OrderLayer::serial(move |n: &u32| Some(Key(*n, Arc::clone(&own))));
    let mut service = layer.layer(service_fn(|n: u32| async move { Ok::<_, BoxError>(n) }));
    let running = service.call(7);
    for told in broken.iter() {
        told.store(true, Ordering::Relaxed);
        panics(|| drop(service.call(7)));
        assert!(!told.load(Ordering::Relaxed));
    }
    assert_eq!(layer.handle().keys(), 1);
    assert_eq!(running.await.unwrap(), 7);
    assert_eq!(service.call(7).await.unwrap(), 7);
    assert_eq!(layer.handle().keys(), 0);
    let expected = counts!(OrderSnapshot { calls: 5 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn panicking_key_closure_costs_no_turn() {
    let layer = OrderLayer::serial(|n: &u32| {
        assert!(*n > 0, "as told");
        Some(())
    });
    let mut service = layer.layer(service_fn(|n: u32| async move { Ok::<_, BoxError>(n) }));
    panics(|| drop(service.call(0)));
    assert_eq!(service.call(1).await.unwrap(), 1);
    assert_eq!(layer.handle().keys(), 0);
}
