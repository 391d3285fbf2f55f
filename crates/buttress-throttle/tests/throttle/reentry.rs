//! Wakers that come back to the limit while it is busy with them.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    task::{Context, Wake, Waker},
};

use buttress_core::{Criticality, Deadline};
use buttress_throttle::ThrottleLayer;
use tokio::time::advance;
use tower::ServiceExt;

use crate::common::{limited, ms};

/// A waker that owns something, a call say, which ends with it.
struct Owner<T>(#[expect(dead_code, reason = "held for its drop")] Mutex<T>);

impl<T: Send> Wake for Owner<T> {
    fn wake(self: Arc<Self>) {}
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_comes_while_its_waiter_learns_that_its_time_is_up_is_taken() {
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
    assert_eq!((handle.in_flight(), handle.queued()), (1, 1));
    // It lets go of its former waker, and that of the running call.
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    assert_eq!((handle.in_flight(), handle.queued(), handle.admitted()), (1, 0, 2));
    assert_eq!(waiting.await.unwrap(), 10);
    assert_eq!(handle.in_flight(), 0);
}

/// A waker that wakes nobody and panics.
struct Broken;

impl Wake for Broken {
    fn wake(self: Arc<Self>) {
        panic!("as told");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_dies_of_somebody_elses_waker_leaves_no_place_behind() {
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
