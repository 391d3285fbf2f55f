//! Panics of the inner service at each place: no caller hangs, and the next call starts a new flight.

use std::{
    future::Future,
    hash::{Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use buttress_dedup::{DedupHandle, DedupLayer, DedupSnapshot};
use buttress_testkit::counts;
use tokio::time::{advance, sleep};
use tower::{Layer, service_fn};
use tower_service::Service;

use crate::{
    fuse::Fuse,
    support::{Call, Failure, PANICKED, call, ms, outcome, settle, waiting},
};

/// The place where a service panics.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Ready,
    Call,
    Poll,
    LaterPoll,
    Drop,
}

/// A service that panics once, and then responds after 50 ms.
#[derive(Clone)]
struct Fragile(Where, Fuse);

/// A value whose destructor panics, unless the thread is panicking already.
struct Debris(Option<Fuse>);

impl Drop for Debris {
    fn drop(&mut self) {
        if let Some(fuse) = self.0.take()
            && !std::thread::panicking()
        {
            fuse.burn();
        }
    }
}

impl Service<u32> for Fragile {
    type Response = u32;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<u32, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if self.0 == Where::Ready {
            self.1.burn();
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, n: u32) -> Self::Future {
        let Self(place, fuse) = self.clone();
        if place == Where::Call {
            fuse.burn();
        }
        Box::pin(async move {
            let _debris = Debris((place == Where::Drop).then(|| fuse.clone()));
            if place == Where::Poll {
                fuse.burn();
            }
            sleep(ms(50)).await;
            if place == Where::LaterPoll {
                fuse.burn();
            }
            Ok(n)
        })
    }
}

/// Two callers meet a panic at the first poll of one of them: one by driving, one by waiting.
fn two_calls<S>(service: &S, handle: &DedupHandle) -> [Call<u32>; 2]
where
    S: Service<u32, Response = u32, Error = Failure, Future: Send> + Clone + Send + 'static,
{
    let mut clone = service.clone();
    let calls = [(); 2].map(|()| {
        let call = clone.call(1);
        let boxed: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(call);
        tokio_test::task::spawn(boxed)
    });
    let expected =
        counts!(DedupSnapshot { calls: 2, leaders: 1, followers: 1, in_flight: 1, waiters: 2 });
    assert_eq!(handle.snapshot(), expected);
    calls
}

#[tokio::test(start_paused = true)]
async fn panicking_service_rejects_all_waiters_and_the_next_call_succeeds() {
    for place in [Where::Ready, Where::Call, Where::Poll] {
        let layer = DedupLayer::new();
        let service = layer.layer(Fragile(place, Fuse::of(1)));
        let [first, second] = two_calls(&service, &layer.handle());
        assert_eq!(outcome(first), Err(PANICKED));
        assert_eq!(outcome(second), Err(PANICKED));
        let expected = counts!(DedupSnapshot { calls: 2, leaders: 1, followers: 1, panics: 1 });
        assert_eq!(layer.handle().snapshot(), expected);
        assert_eq!(call(&service, 1).await, Ok(1));
    }
}

#[tokio::test(start_paused = true)]
async fn late_panic_wakes_and_rejects_all_waiters() {
    for place in [Where::LaterPoll, Where::Drop] {
        let layer = DedupLayer::new();
        let service = layer.layer(Fragile(place, Fuse::of(1)));
        let mut calls = [(); 4].map(|()| Some(waiting(&service, 1)));
        advance(ms(50)).await;
        assert_eq!(settle(&mut calls).1, [(); 4].map(|()| Err(PANICKED)));
        assert_eq!(layer.handle().in_flight(), 0);
        assert_eq!(call(&service, 1).await, Ok(1));
    }
}

#[tokio::test(start_paused = true)]
async fn panic_rejects_the_follower_when_the_leader_left() {
    let service = DedupLayer::new().layer(Fragile(Where::LaterPoll, Fuse::of(1)));
    let (first, second) = (waiting(&service, 1), waiting(&service, 1));
    drop(first);
    assert_eq!(second.await, Err(PANICKED));
}

#[tokio::test(start_paused = true)]
async fn panic_resumes_only_in_the_driver_when_enabled() {
    let layer = DedupLayer::new().resume_panics();
    let service = layer.layer(Fragile(Where::LaterPoll, Fuse::of(1)));
    let (mut first, mut second) = (waiting(&service, 1), waiting(&service, 1));
    let third = waiting(&service, 1);
    advance(ms(50)).await;
    let payload = catch_unwind(AssertUnwindSafe(|| second.poll())).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"as told"));
    assert_eq!(first.poll(), Poll::Ready(Err(PANICKED)));
    assert_eq!(outcome(third), Err(PANICKED));
    drop((first, second));
    let expected = counts!(DedupSnapshot { calls: 3, leaders: 1, followers: 2, panics: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
    assert_eq!(call(&service, 1).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn panicking_destructor_of_the_call_leaves_no_flight() {
    let layer = DedupLayer::new();
    let service = layer.layer(Fragile(Where::Drop, Fuse::of(1)));
    let leaving = waiting(&service, 1);
    catch_unwind(AssertUnwindSafe(|| drop(leaving))).unwrap_err();
    assert_eq!(layer.handle().in_flight(), 0);
    assert_eq!(call(&service, 1).await, Ok(1));
}

/// A service that is never ready.
#[derive(Clone)]
struct Down;

impl Service<Debris> for Down {
    type Response = u32;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<u32, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Err(Failure::Down(1)))
    }

    fn call(&mut self, _: Debris) -> Self::Future {
        unreachable!("it is not ready")
    }
}

#[tokio::test(start_paused = true)]
async fn panicking_destructor_of_an_unsent_request_rejects_all_waiters() {
    let layer = DedupLayer::keyed(|_: &Debris| Some(1));
    let mut service = layer.layer(Down);
    let mut calls =
        [Some(Fuse::of(1)), None].map(|fuse| tokio_test::task::spawn(service.call(Debris(fuse))));
    for call in &mut calls {
        assert_eq!(call.poll(), Poll::Ready(Err(PANICKED)));
    }
    let expected = counts!(DedupSnapshot { calls: 2, leaders: 1, followers: 1, panics: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
    let next = service.call(Debris(None));
    assert_eq!(next.await, Err(Failure::Down(1)));
}

/// A key whose destructor panics. Its clones do not panic.
struct Brittle(#[expect(dead_code, reason = "it is there to be dropped")] Debris);

impl Clone for Brittle {
    fn clone(&self) -> Self {
        Self(Debris(None))
    }
}

impl PartialEq for Brittle {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Brittle {}

impl Hash for Brittle {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

#[tokio::test(start_paused = true)]
async fn panicking_destructor_of_a_key_rejects_all_waiters_and_the_next_call_succeeds() {
    for others in [0, 1] {
        let fuse = Mutex::new(Some(Fuse::of(1)));
        let fuse = Arc::new(fuse);
        let layer =
            DedupLayer::keyed(move |_: &u32| Some(Brittle(Debris(fuse.lock().unwrap().take()))));
        let service = layer.layer(service_fn(async |n: u32| {
            sleep(ms(50)).await;
            Ok::<_, Failure>(n)
        }));
        let mut calls: Vec<_> = (0..=others).map(|_| Some(waiting(&service, 1))).collect();
        advance(ms(50)).await;
        let (_, outcomes) = settle(&mut calls);
        assert_eq!(outcomes, vec![Err(PANICKED); others + 1]);
        assert_eq!(layer.handle().panics(), 1);
        assert_eq!(layer.handle().in_flight(), 0);
        assert_eq!(call(&service, 1).await, Ok(1));
    }
}

#[tokio::test(start_paused = true)]
async fn panic_reaches_the_caller_that_bypasses_deduplication() {
    let layer = DedupLayer::keyed(|_: &u32| None::<u32>);
    let mut call = call(&layer.layer(Fragile(Where::Call, Fuse::of(1))), 1);
    catch_unwind(AssertUnwindSafe(|| call.poll())).unwrap_err();
    assert_eq!(layer.handle().panics(), 0);
}
