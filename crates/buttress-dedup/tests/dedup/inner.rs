//! What the layer makes of the service inside, its readiness above all.

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
async fn ten_calls_over_a_limit_of_one_are_one_call() {
    let upstream = taking(ms(50));
    let stack = ServiceBuilder::new()
        .layer(DedupLayer::new())
        .concurrency_limit(1)
        .service(upstream.clone());
    let start = Instant::now();
    let all = join_all((0..10).map(|_| stack.clone().oneshot(7))).await;
    assert_eq!(all, [1; 10].map(Ok));
    assert_eq!((upstream.calls(), start.elapsed()), (1, ms(50)));
}

#[tokio::test(start_paused = true)]
async fn whoever_joins_does_not_wait_for_a_service_that_is_busy() {
    let upstream = taking(ms(50));
    let stack = ServiceBuilder::new()
        .layer(DedupLayer::new())
        .concurrency_limit(1)
        .service(upstream.clone());
    let leader = waiting(&stack, 1);
    advance(ms(10)).await;
    // The one permit is the leader's, and the follower needs none; another key does.
    let (follower, other) = (waiting(&stack, 1), waiting(&stack, 2));
    assert_eq!(upstream.calls(), 1);
    advance(ms(40)).await;
    assert_eq!((outcome(leader), outcome(follower)), (Ok(1), Ok(1)));
    assert_eq!(other.await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn the_layer_is_ready_though_the_service_is_not() {
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
    assert_eq!((upstream.calls(), layer.handle().waiters()), (0, 2));
    drop(calls);
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flight_waits_for_a_permit_and_gives_it_back_when_all_have_left() {
    let probe = Probe::new(|n: u32| Ok::<_, Failure>(n)).permits(1);
    let service = DedupLayer::new().layer(probe.clone());
    let held = probe.reserve().unwrap();
    let (first, second) = (waiting(&service, 1), waiting(&service, 1));
    assert_eq!((probe.waiting(), probe.calls()), (1, 0));
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
async fn an_error_of_readiness_is_an_error_of_the_call() {
    let probe = Probe::new(|n: u32| Ok::<_, Failure>(n));
    let broken = AtomicUsize::new(0);
    probe.break_down(move || Failure::Down(broken.fetch_add(1, SeqCst) + 1));
    let layer = DedupLayer::new();
    let service = layer.layer(probe.clone());
    let (first, second) = (call(&service, 1), call(&service, 1));
    assert_eq!((outcome(first), outcome(second)), (Err(Failure::Down(1)), Err(Failure::Down(2))));
    assert_eq!((probe.calls(), layer.handle().in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_is_shared_as_any_other() {
    let probe = Probe::new(|n: u32| Ok::<_, Failure>(n));
    probe.break_down(|| Failure::Down(7));
    let held = DedupLayer::new().share_errors().layer(probe.clone());
    let mut gate = Gate { inner: held, polled: Arc::default() };
    assert_eq!(call(&gate, 1).await, Err(Failure::Down(7)));
    assert!(poll_fn(|cx| gate.poll_ready(cx)).await.is_ok(), "the layer itself is well");
}

/// Counts how often it is asked whether it is ready.
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
async fn the_service_is_asked_whether_it_is_ready_for_whoever_leads_and_for_nobody_else() {
    let gate = Gate { inner: taking(ms(50)), polled: Arc::default() };
    let service = DedupLayer::new().layer(gate.clone());
    let all = join_all((0..10).map(|_| service.clone().oneshot(7))).await;
    assert_eq!(all, [1; 10].map(Ok));
    assert_eq!(gate.polled.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_call_held_is_free_before_its_answer_is_seen() {
    let stack =
        ServiceBuilder::new().layer(DedupLayer::new()).concurrency_limit(1).service(taking(ms(50)));
    let (first, second) = (waiting(&stack, 1), waiting(&stack, 1));
    advance(ms(50)).await;
    assert_eq!(outcome(first), Ok(1));
    // The second has not fetched its answer, and holds no permit with it.
    let other = waiting(&stack, 2);
    advance(ms(50)).await;
    assert_eq!((outcome(other), outcome(second)), (Ok(2), Ok(1)));
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_error_is_boxed_fits() {
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
