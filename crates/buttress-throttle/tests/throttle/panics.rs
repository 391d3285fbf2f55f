//! Code of the user's that panics while a limit lets go of something: no permit and no wake is lost.

use std::{
    hash::{Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use buttress_control::{Adapt, Sample};
use buttress_core::{BoxError, Criticality, Verdict};
use buttress_testkit::counts;
use buttress_throttle::{Queue, Rate, ThrottleLayer, ThrottleSnapshot};
use tokio::time::advance;
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{Worker, limited, ms};

/// A law that allows one call at a time, and panics when it is to learn from one.
#[derive(Clone, Debug)]
struct Broken(Arc<AtomicU32>);

impl Adapt for Broken {
    fn limit(&self) -> u32 {
        1
    }

    fn learn(&mut self, _: Sample) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("as told")
    }
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

fn panics<T>(f: impl FnOnce() -> T) {
    assert!(catch_unwind(AssertUnwindSafe(f)).is_err(), "it should have panicked");
}

type Call = std::pin::Pin<Box<tower::util::Oneshot<Worker, u64>>>;

/// A call that waits with this waker.
fn wait(service: &Worker, waker: &Waker) -> Call {
    let mut call = Box::pin(service.clone().oneshot(1));
    assert!(call.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
    call
}

#[tokio::test(start_paused = true)]
async fn a_permit_comes_back_if_the_law_panics_on_a_call_that_ended() {
    let learned = Arc::<AtomicU32>::default();
    let layer = ThrottleLayer::adaptive(Broken(Arc::clone(&learned))).queue(1);
    let service = layer.layer(service_fn(async |n: u64| Ok::<_, BoxError>(n)));
    let handle = layer.handle();
    for n in 1..=2 {
        let mut call = task::spawn(service.clone().oneshot(1));
        panics(|| call.poll());
        assert_eq!(handle.in_flight(), 0);
        assert_eq!(learned.load(Ordering::Relaxed), n);
    }
}

#[tokio::test(start_paused = true)]
async fn a_permit_comes_back_if_the_law_panics_on_a_call_that_timed_out() {
    let learned = Arc::<AtomicU32>::default();
    let layer = ThrottleLayer::adaptive(Broken(Arc::clone(&learned))).queue(1);
    let (service, handle) = (limited(&layer), layer.handle());
    let deadline = buttress_core::Deadline::after(ms(5));
    let mut running = task::spawn(deadline.around(service.clone().oneshot(1000)));
    assert_pending!(running.poll());
    let mut waiting = task::spawn(service.clone().oneshot(1));
    assert_pending!(waiting.poll());
    advance(ms(6)).await;
    panics(|| drop(running));
    assert_eq!(learned.load(Ordering::Relaxed), 1);
    assert!(waiting.is_woken(), "the permit went on");
    drop(waiting);
    let expected = counts!(ThrottleSnapshot {
        admitted: [0, 0, 1, 0],
        abandoned: 1,
        in_flight: Some(0),
        limit: Some(1)
    });
    assert_eq!(handle.snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_permit_comes_back_if_the_classification_panics() {
    let classify = |_: Result<&u64, &BoxError>| -> Verdict { panic!("as told") };
    let layer = ThrottleLayer::adaptive(buttress_throttle::Vegas::default().initial(1));
    let layer = layer.classify(classify);
    let service = layer.layer(service_fn(async |n: u64| Ok::<_, BoxError>(n)));
    let mut call = task::spawn(service.oneshot(1));
    panics(|| call.poll());
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn permits_reach_waiters_behind_a_panicking_waker() {
    let layer = ThrottleLayer::concurrency(0).queue(9);
    let (service, handle) = (limited(&layer), layer.handle());
    let broken = [wait(&service, &panicking()), wait(&service, &panicking())];
    let mut whole: Vec<_> = (0..2).map(|_| task::spawn(service.clone().oneshot(1))).collect();
    for call in &mut whole {
        assert_pending!(call.poll());
    }
    panics(|| handle.set_limit(4));
    assert!(whole.iter().all(task::Spawn::is_woken));
    for call in whole {
        call.await.unwrap();
    }
    drop(broken);
    let expected = counts!(ThrottleSnapshot {
        admitted: [0, 0, 2, 0],
        abandoned: 2,
        in_flight: Some(0),
        limit: Some(4)
    });
    assert_eq!(handle.snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn permit_goes_on_when_the_waker_of_its_next_holder_panics() {
    let layer = ThrottleLayer::concurrency(1).queue(2);
    let (service, handle) = (limited(&layer), layer.handle());
    let mut running = task::spawn(service.clone().oneshot(1));
    assert_pending!(running.poll());
    let broken = wait(&service, &panicking());
    let mut whole = task::spawn(service.clone().oneshot(1));
    assert_pending!(whole.poll());
    panics(|| drop(running));
    let expected = counts!(ThrottleSnapshot {
        admitted: [0, 0, 1, 0],
        queued: 1,
        in_flight: Some(1),
        limit: Some(1)
    });
    assert_eq!(handle.snapshot(), expected);
    drop(broken);
    whole.await.unwrap();
    let expected = counts!(ThrottleSnapshot {
        admitted: [0, 0, 2, 0],
        abandoned: 1,
        in_flight: Some(0),
        limit: Some(1)
    });
    assert_eq!(handle.snapshot(), expected);
}

/// A second panic while the first unwinds would abort the process.
#[tokio::test(start_paused = true)]
async fn panicking_waker_during_unwinding_does_not_abort() {
    let layer = ThrottleLayer::concurrency(1).queue(3);
    let handle = layer.handle();
    let service = layer.layer(service_fn(async |n: u64| {
        tokio::task::yield_now().await;
        assert_eq!(n, 1, "as told");
        Ok::<_, BoxError>(n)
    }));
    let service = service.boxed_clone();
    let mut running = Box::pin(service.clone().oneshot(2));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(running.as_mut().poll(&mut cx).is_pending());
    let broken = [wait(&service, &panicking()), wait(&service, &panicking())];
    panics(move || running.as_mut().poll(&mut Context::from_waker(Waker::noop())));
    let expected = counts!(ThrottleSnapshot {
        admitted: [0, 0, 1, 0],
        queued: 1,
        in_flight: Some(1),
        limit: Some(1)
    });
    assert_eq!(handle.snapshot(), expected);
    let [first, second] = broken;
    panics(|| drop(first));
    drop(second);
    let expected = counts!(ThrottleSnapshot {
        admitted: [0, 0, 1, 0],
        abandoned: 2,
        in_flight: Some(0),
        limit: Some(1)
    });
    assert_eq!(handle.snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn panicking_waker_stops_no_rate_timer_and_no_later_waiter() {
    let layer = ThrottleLayer::rate(Rate::per_second(10).burst(1)).queue(9);
    let (service, handle) = (limited(&layer), layer.handle());
    service.clone().oneshot(1).await.unwrap();
    let broken = [wait(&service, &panicking()), wait(&service, &panicking())];
    let mut whole = task::spawn(service.clone().oneshot(1));
    assert_pending!(whole.poll());
    for left in [2, 1, 0] {
        advance(ms(100)).await;
        assert_eq!(handle.queued(), left);
    }
    assert!(whole.is_woken());
    drop(broken);
    whole.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn deadline_in_the_queue_passes_beside_a_panicking_waker() {
    let layer = ThrottleLayer::concurrency(0).queue(Queue::new(9).max_wait(ms(50)));
    let (service, handle) = (limited(&layer), layer.handle());
    let _broken = wait(&service, &panicking());
    let mut whole = task::spawn(service.clone().oneshot(1));
    assert_pending!(whole.poll());
    advance(ms(51)).await;
    assert!(whole.is_woken());
    whole.await.unwrap_err();
    advance(ms(51)).await;
    let mut after = task::spawn(service.clone().oneshot(1));
    assert_pending!(after.poll());
    advance(ms(51)).await;
    assert!(after.is_woken(), "the timers go on");
    assert_eq!(handle.queued(), 2);
}

/// Keys whose comparison, hash or drop panics when the test says so.
#[derive(Clone, Debug)]
struct Key(u64, Arc<[AtomicBool; 3]>);

const EQ: usize = 0;
const HASH: usize = 1;
const DROP: usize = 2;

impl Key {
    fn may_panic(&self, what: usize) {
        let told = self.1.get(what).is_some_and(|told| told.swap(false, Ordering::Relaxed));
        assert!(!told, "as told");
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.may_panic(EQ);
        self.0 == other.0
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.may_panic(HASH);
        self.0.hash(state);
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.may_panic(DROP);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn panicking_key_costs_no_permit_and_no_limit_of_other_keys() {
    let broken = Arc::<[AtomicBool; 3]>::default();
    let own = Arc::clone(&broken);
    let layer =
        ThrottleLayer::concurrency(1).keyed(move |key: &u64| Some(Key(*key, Arc::clone(&own))));
    let (service, handle) = (limited(&layer), layer.handle());
    let mut held: Vec<_> = (1..200).map(|key| task::spawn(service.clone().oneshot(key))).collect();
    for call in &mut held {
        assert_pending!(call.poll());
    }
    for what in [EQ, HASH, DROP] {
        let mut call = task::spawn(service.clone().oneshot(7));
        broken[what].store(true, Ordering::Relaxed);
        panics(|| call.poll());
        assert!(!broken[what].load(Ordering::Relaxed));
    }
    for key in 1..200 {
        let call = task::spawn(service.clone().oneshot(key)).poll();
        assert!(matches!(call, Poll::Ready(Err(_))), "{key} is still held");
    }
    assert_eq!(handle.keys(), 199);
    drop(held);
    assert_eq!(handle.keys(), 0);
    service.oneshot(7).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn panicking_waker_of_a_displaced_waiter_leaves_no_call_queued() {
    let layer = ThrottleLayer::rate(Rate::per_second(0)).queue(1);
    let (service, handle) = (limited(&layer), layer.handle());
    let mut least = Box::pin(Criticality::Sheddable.around(service.clone().oneshot(1)));
    assert!(least.as_mut().poll(&mut Context::from_waker(&panicking())).is_pending());
    let mut call = task::spawn(service.clone().oneshot(1));
    panics(|| call.poll());
    drop((least, call));
    assert_eq!(handle.queued(), 0);
}
