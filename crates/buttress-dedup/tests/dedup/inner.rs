//! The layer and its inner service, above all the readiness.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Waker},
};

use buttress_core::BoxError;
use buttress_dedup::DedupLayer;
use buttress_testkit::{Probe, Script};
use futures_util::future::join_all;
use tokio::time::{Instant, advance, sleep, timeout};
use tokio_test::assert_pending;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_service::Service;

use crate::support::{Failure, call, ms, outcome, taking, waiting};

#[tokio::test(start_paused = true)]
async fn ten_calls_share_one_permit_of_the_limit_below() {
    let upstream = taking(ms(50));
    let stack = ServiceBuilder::new()
        .layer(DedupLayer::new())
        .concurrency_limit(1)
        .service(upstream.clone());
    let start = Instant::now();
    let all = join_all((0..10).map(|_| stack.clone().oneshot(7))).await;
    assert_eq!(all, [1; 10].map(Ok));
    assert_eq!(upstream.calls(), 1);
    assert_eq!(start.elapsed(), ms(50));
}

#[tokio::test(start_paused = true)]
async fn follower_does_not_wait_for_inner_readiness() {
    let upstream = taking(ms(50));
    let stack = ServiceBuilder::new()
        .layer(DedupLayer::new())
        .concurrency_limit(1)
        .service(upstream.clone());
    let leader = waiting(&stack, 1);
    advance(ms(10)).await;
    // The leader holds the only permit. The follower needs none, but another key does.
    let (follower, other) = (waiting(&stack, 1), waiting(&stack, 2));
    assert_eq!(upstream.calls(), 1);
    advance(ms(40)).await;
    assert_eq!(outcome(leader), Ok(1));
    assert_eq!(outcome(follower), Ok(1));
    assert_eq!(other.await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn layer_is_ready_when_the_inner_service_is_not() {
    let upstream = Script::new().ok(7).never_ready().service();
    let layer = DedupLayer::new();
    let mut service = layer.layer(upstream.clone());
    let ready = Service::<u32>::poll_ready(&mut service, &mut Context::from_waker(Waker::noop()));
    assert!(matches!(ready, std::task::Poll::Ready(Ok::<(), Failure>(()))));
    let mut calls = [waiting(&service, 1), waiting(&service, 1)];
    advance(ms(60_000)).await;
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    assert!(timeout(ms(10), service.clone().oneshot(1)).await.is_err());
    assert_eq!(upstream.calls(), 0);
    assert_eq!(layer.handle().waiters(), 2);
    drop(calls);
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn flight_waits_for_a_permit_and_returns_it_when_all_callers_leave() {
    let probe = Probe::new(|n: u32| Ok::<_, Failure>(n)).permits(1);
    let service = DedupLayer::new().layer(probe.clone());
    let held = probe.reserve().unwrap();
    let (first, second) = (waiting(&service, 1), waiting(&service, 1));
    assert_eq!(probe.waiting(), 1);
    assert_eq!(probe.calls(), 0);
    drop(first);
    assert_eq!(probe.waiting(), 1);
    drop(held);
    assert_eq!(outcome(second), Ok(1));
    assert!(probe.at_rest());
    let held = probe.reserve().unwrap();
    drop(waiting(&service, 1));
    drop(held);
    assert!(probe.at_rest());
    assert!(probe.reserve().is_some());
}

#[tokio::test(start_paused = true)]
async fn readiness_error_becomes_the_error_of_the_call() {
    let probe = Probe::new(|n: u32| Ok::<_, Failure>(n));
    let broken = AtomicUsize::new(0);
    probe.break_down(move || Failure::Down(broken.fetch_add(1, SeqCst) + 1));
    let layer = DedupLayer::new();
    let service = layer.layer(probe.clone());
    let (first, second) = (call(&service, 1), call(&service, 1));
    assert_eq!(outcome(first), Err(Failure::Down(1)));
    assert_eq!(outcome(second), Err(Failure::Down(2)));
    assert_eq!(probe.calls(), 0);
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn readiness_error_becomes_the_error_of_the_call_with_shared_errors() {
    let probe = Probe::new(|n: u32| Ok::<_, Failure>(n));
    probe.break_down(|| Failure::Down(7));
    let held = DedupLayer::new().share_errors().layer(probe.clone());
    let mut gate = Gate { inner: held, polled: Arc::default() };
    assert_eq!(call(&gate, 1).await, Err(Failure::Down(7)));
    assert!(poll_fn(|cx| gate.poll_ready(cx)).await.is_ok(), "the layer itself is ready");
}

/// Counts the polls of its readiness.
#[derive(Clone)]
struct Gate<S> {
    inner: S,
    polled: Arc<AtomicUsize>,
}

impl<S: Service<u32>> Service<u32> for Gate<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.polled.fetch_add(1, SeqCst);
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, n: u32) -> S::Future {
        self.inner.call(n)
    }
}

#[tokio::test(start_paused = true)]
async fn inner_readiness_is_polled_only_for_the_leader() {
    let gate = Gate { inner: taking(ms(50)), polled: Arc::default() };
    let service = DedupLayer::new().layer(gate.clone());
    let all = join_all((0..10).map(|_| service.clone().oneshot(7))).await;
    assert_eq!(all, [1; 10].map(Ok));
    assert_eq!(gate.polled.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn inner_call_is_dropped_before_its_response_is_read() {
    let stack =
        ServiceBuilder::new().layer(DedupLayer::new()).concurrency_limit(1).service(taking(ms(50)));
    let (first, second) = (waiting(&stack, 1), waiting(&stack, 1));
    advance(ms(50)).await;
    assert_eq!(outcome(first), Ok(1));
    // The second caller has not read its response, and holds no permit.
    let other = waiting(&stack, 2);
    advance(ms(50)).await;
    assert_eq!(outcome(other), Ok(2));
    assert_eq!(outcome(second), Ok(1));
}

#[tokio::test(start_paused = true)]
async fn boxed_errors_are_supported() {
    let work = |n: u32| async move {
        sleep(ms(50)).await;
        Err::<u32, BoxError>(n.to_string().into())
    };
    let service = DedupLayer::new().layer(service_fn(work));
    let (first, second) = (waiting(&service, 1), waiting(&service, 1));
    advance(ms(50)).await;
    assert_eq!(outcome(first).unwrap_err().to_string(), "1");
    assert_eq!(second.await.unwrap_err().to_string(), "1");
}
