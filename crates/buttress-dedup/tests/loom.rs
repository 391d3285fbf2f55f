//! Flights under the interleavings of up to three threads:
//! `RUSTFLAGS="--cfg buttress_loom" cargo test -p buttress-dedup --test loom --release`.
#![cfg(buttress_loom)]
#![expect(clippy::unwrap_used, reason = "a thread that panicked has failed the test")]

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use buttress_core::Rejection;
use buttress_dedup::{DedupHandle, DedupLayer};
use loom::{
    future::{AtomicWaker, block_on},
    model::Builder,
    sync::atomic::{
        AtomicBool, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
    },
    thread,
};
use tower_layer::Layer;
use tower_service::Service;

/// A service whose calls wait for one command, and respond with their number, from 1.
#[derive(Clone, Default)]
struct Upstream(Arc<Word>);

#[derive(Default)]
struct Word {
    calls: AtomicUsize,
    live: AtomicUsize,
    said: AtomicBool,
    failing: AtomicBool,
    // At most two calls run at a time: one in the table, and one that was invalidated.
    wakers: [AtomicWaker; 2],
}

impl Upstream {
    fn say(&self) {
        self.0.said.store(true, Release);
        self.0.wakers.iter().for_each(AtomicWaker::wake);
    }

    /// Drops the wakers, as a service without a pending call does.
    fn forget_wakers(&self) {
        self.0.wakers.iter().for_each(|waker| drop(waker.take_waker()));
    }

    fn calls(&self) -> usize {
        self.0.calls.load(Relaxed)
    }

    fn failing(&self) {
        self.0.failing.store(true, Relaxed);
    }
}

impl Service<u32> for Upstream {
    type Response = usize;
    type Error = Down;
    type Future = Waiting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Down>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u32) -> Waiting {
        self.0.live.fetch_add(1, Relaxed);
        Waiting(Arc::clone(&self.0), self.0.calls.fetch_add(1, Relaxed) + 1)
    }
}

struct Waiting(Arc<Word>, usize);

impl Future for Waiting {
    type Output = Result<usize, Down>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self(word, number) = &*self;
        if let Some(waker) = word.wakers.get(number - 1) {
            waker.register_by_ref(cx.waker());
        }
        match word.said.load(Acquire) {
            false => Poll::Pending,
            true if word.failing.load(Relaxed) => Poll::Ready(Err(Down(*number))),
            true => Poll::Ready(Ok(*number)),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Relaxed);
    }
}

/// The service failed in the call of this number.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Down(usize);

impl From<Rejection> for Down {
    fn from(_: Rejection) -> Self {
        Self(0)
    }
}

type Call = Pin<Box<dyn Future<Output = Result<usize, Down>> + Send>>;

/// A layer over the upstream, for all threads.
#[derive(Clone)]
struct Flying {
    upstream: Upstream,
    layer: DedupLayer,
}

impl Flying {
    fn new() -> Self {
        Self { upstream: Upstream::default(), layer: DedupLayer::new() }
    }

    fn call(&self) -> Call {
        Box::pin(self.layer.layer(self.upstream.clone()).call(7))
    }

    /// A call that was polled once, with a waker that does nothing.
    fn waiting(&self) -> Call {
        let mut call = self.call();
        assert!(poll_once(&mut call).is_pending());
        call
    }

    fn handle(&self) -> DedupHandle {
        self.layer.handle()
    }

    /// Asserts that no flight is open and the service runs no call.
    fn rest(&self) {
        assert_eq!(self.handle().in_flight(), 0);
        assert_eq!(self.handle().waiters(), 0);
        assert_eq!(self.upstream.0.live.load(Relaxed), 0);
    }
}

fn poll_once(call: &mut Call) -> Poll<Result<usize, Down>> {
    call.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Explores with up to two preemptions.
fn explore(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(f);
}

#[test]
fn call_that_races_with_the_response_joins_or_starts_a_flight() {
    explore(|| {
        let flying = Flying::new();
        let threads = [(); 2].map(|()| {
            let flying = flying.clone();
            thread::spawn(move || block_on(flying.call()).unwrap())
        });
        flying.upstream.say();
        let answers = threads.map(|thread| thread.join().unwrap());
        let handle = flying.handle();
        assert_eq!(flying.upstream.calls() as u64, handle.leaders());
        assert_eq!(handle.leaders() + handle.followers(), 2);
        assert_eq!(handle.followers() == 1, answers == [1, 1], "{answers:?}");
        flying.rest();
    });
}

#[test]
fn call_that_races_with_the_last_leave_is_served() {
    explore(|| {
        let flying = Flying::new();
        let leaving = flying.waiting();
        let joining = flying.clone();
        let leaves = thread::spawn(move || drop(leaving));
        let joins = thread::spawn(move || block_on(joining.call()).unwrap());
        flying.upstream.say();
        leaves.join().unwrap();
        let answer = joins.join().unwrap();
        let handle = flying.handle();
        assert_eq!(answer as u64, handle.leaders());
        assert_eq!(flying.upstream.calls(), answer);
        assert!(handle.handovers() <= handle.followers());
        flying.rest();
    });
}

#[test]
fn response_is_not_lost_while_the_leader_leaves() {
    explore(|| {
        let flying = Flying::new();
        let (leader, follower) = (flying.waiting(), flying.waiting());
        let leaves = thread::spawn(move || drop(leader));
        let waits = thread::spawn(move || block_on(follower).unwrap());
        flying.upstream.say();
        leaves.join().unwrap();
        assert_eq!(waits.join().unwrap(), 1);
        assert_eq!(flying.upstream.calls(), 1);
        flying.rest();
    });
}

#[test]
fn response_is_not_lost_while_a_follower_leaves() {
    explore(|| {
        let flying = Flying::new();
        let (leader, follower) = (flying.waiting(), flying.waiting());
        let leaves = thread::spawn(move || drop(follower));
        let waits = thread::spawn(move || block_on(leader).unwrap());
        flying.upstream.say();
        leaves.join().unwrap();
        assert_eq!(waits.join().unwrap(), 1);
        assert_eq!(flying.upstream.calls(), 1);
        flying.rest();
    });
}

#[test]
fn error_reaches_the_follower_or_a_restart_while_the_leader_leaves() {
    explore(|| {
        let flying = Flying::new();
        flying.upstream.failing();
        let (leader, follower) = (flying.waiting(), flying.waiting());
        let leaves = thread::spawn(move || drop(leader));
        let waits = thread::spawn(move || block_on(follower).unwrap_err());
        flying.upstream.say();
        leaves.join().unwrap();
        let Down(number) = waits.join().unwrap();
        assert_eq!(flying.upstream.calls(), number, "its own error, of the last call");
        assert!((1..=2).contains(&number));
        flying.rest();
    });
}

#[test]
fn two_waiters_drive_the_flight_to_its_end() {
    explore(|| {
        let flying = Flying::new();
        let calls = [flying.waiting(), flying.waiting()];
        let threads = calls.map(|call| thread::spawn(move || block_on(call).unwrap()));
        flying.upstream.say();
        assert_eq!(threads.map(|thread| thread.join().unwrap()), [1, 1]);
        assert_eq!(flying.upstream.calls(), 1);
        flying.rest();
    });
}

#[test]
fn follower_drives_when_the_driver_leaves_while_woken() {
    explore(|| {
        let flying = Flying::new();
        let (mut leader, follower) = (flying.waiting(), flying.call());
        let leaves = thread::spawn(move || {
            // The leader leaves, whether it drives or not.
            let _ = poll_once(&mut leader);
        });
        let waits = thread::spawn(move || block_on(follower).unwrap());
        flying.upstream.say();
        leaves.join().unwrap();
        assert_eq!(waits.join().unwrap(), 1);
        assert_eq!(flying.upstream.calls(), 1);
        flying.rest();
    });
}

#[test]
fn call_that_races_with_an_invalidation_is_served_by_either_flight() {
    explore(|| {
        let flying = Flying::new();
        let first = flying.waiting();
        let joining = flying.clone();
        let joins = thread::spawn(move || block_on(joining.call()).unwrap());
        let forgetting = flying.handle();
        let forgets = thread::spawn(move || assert!(forgetting.invalidate(&7_u32)));
        flying.upstream.say();
        forgets.join().unwrap();
        let answer = joins.join().unwrap();
        assert_eq!(block_on(first), Ok(1));
        assert_eq!(flying.upstream.calls() as u64, flying.handle().leaders());
        assert_eq!(answer as u64, flying.handle().leaders());
        flying.rest();
    });
}

#[test]
fn response_that_races_with_an_invalidation_removes_no_other_flight() {
    explore(|| {
        let flying = Flying::new();
        let first = flying.waiting();
        let forgetting = flying.clone();
        let forgets = thread::spawn(move || {
            forgetting.handle().invalidate(&7_u32);
            block_on(forgetting.call()).unwrap()
        });
        let waits = thread::spawn(move || block_on(first).unwrap());
        flying.upstream.say();
        assert_eq!(waits.join().unwrap(), 1);
        assert_eq!(forgets.join().unwrap(), 2);
        assert_eq!(flying.upstream.calls(), 2);
        flying.rest();
    });
}

#[test]
fn late_wake_of_an_ended_flight_does_not_disturb_the_next() {
    explore(|| {
        let flying = Flying::new();
        let calling = flying.clone();
        // The second flight reuses the first one's memory, unless a waker of the first remains.
        let calls = thread::spawn(move || [(); 2].map(|()| block_on(calling.call()).unwrap()));
        flying.upstream.say();
        assert_eq!(calls.join().unwrap(), [1, 2]);
        flying.rest();
    });
}

#[test]
fn recycled_flight_serves_a_single_flight_at_a_time() {
    explore(|| {
        let flying = Flying::new();
        flying.upstream.say();
        assert_eq!(block_on(flying.call()), Ok(1));
        flying.upstream.forget_wakers();
        let threads = [(); 2].map(|()| {
            let flying = flying.clone();
            thread::spawn(move || block_on(flying.call()).unwrap())
        });
        let answers = threads.map(|thread| thread.join().unwrap());
        assert_eq!(flying.upstream.calls(), flying.handle().leaders() as usize);
        assert_eq!(flying.handle().followers() == 1, answers == [2, 2], "{answers:?}");
        flying.rest();
    });
}

#[test]
fn error_goes_to_its_caller_and_the_other_calls_again() {
    explore(|| {
        let flying = Flying::new();
        flying.upstream.failing();
        let calls = [flying.waiting(), flying.waiting()];
        let threads = calls.map(|call| thread::spawn(move || block_on(call).unwrap_err()));
        flying.upstream.say();
        assert_eq!(threads.map(|thread| thread.join().unwrap()), [Down(1), Down(2)]);
        assert_eq!(flying.upstream.calls(), 2);
        flying.rest();
    });
}
