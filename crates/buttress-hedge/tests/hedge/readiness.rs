//! The readiness of hedges.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{BoxError, Deadline, Reason};
use buttress_hedge::{HedgeSnapshot, WithheldCounts, WithheldReason};
use buttress_testkit::{Probe, counts};
use tokio::time::{Instant, advance, sleep, timeout};
use tokio_test::{assert_pending, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer};

use crate::support::{MS, SECOND, Upstream, hedging, rejection, script, times, tokens};

const DELAY: Duration = Duration::from_millis(50);

#[tokio::test(start_paused = true)]
async fn hedge_waits_for_readiness_without_delaying_the_first_try() {
    let upstream = script().delay(300 * MS).ok(1).service();
    let layer = hedging(DELAY).at_most(5);
    let limit = ConcurrencyLimitLayer::new(1);
    let stack = ServiceBuilder::new().layer(layer.clone()).layer(limit).service(upstream.clone());
    let mut handle = stack.clone();
    assert_eq!(stack.oneshot(1).await.unwrap(), 1);
    assert_eq!(upstream.calls(), 1);
    assert_eq!(layer.handle().sent(), 0);
    // Nothing waits in the line of the permits any more.
    assert_eq!(handle.ready().await.unwrap().call(1).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn hedge_is_sent_once_the_service_is_ready() {
    let upstream = script().hang().delay(10 * MS).ok(2).service();
    let layer = hedging(DELAY);
    let stack = ServiceBuilder::new()
        .layer(layer.clone())
        .layer(ConcurrencyLimitLayer::new(2))
        .service(upstream.clone());
    // A stranger holds the second permit for 200 ms.
    let mut stranger = stack.clone();
    stranger.ready().await.unwrap();
    let call = tokio::spawn(stack.oneshot(1));
    sleep(200 * MS).await;
    assert_eq!(upstream.calls(), 1);
    drop(stranger);
    assert_eq!(call.await.unwrap().unwrap(), 2);
    assert_eq!(times(&upstream), [0, 200]);
}

#[tokio::test(start_paused = true)]
async fn hedges_hold_no_permit_while_they_run_or_wait() {
    let probe = Probe::new(|n: u32| Ok::<_, BoxError>(n)).permits(2);
    probe.hold();
    let mut call = task::spawn(hedging(DELAY).at_most(5).layer(probe.clone()).oneshot(1));
    for _ in 0..4 {
        assert_pending!(call.poll());
        advance(51 * MS).await;
    }
    // The first try and a hedge run. One further hedge waits in line.
    assert_eq!((probe.live(), probe.reserved(), probe.waiting()), (2, 0, 1));
    drop(call);
    assert!(probe.at_rest());
}

/// A service whose readiness follows a script after the first call.
#[derive(Clone)]
struct Gated {
    upstream: Upstream,
    readiness: Arc<Mutex<VecDeque<Result<(), BoxError>>>>,
}

impl Gated {
    fn new(upstream: &Upstream, readiness: impl IntoIterator<Item = Result<(), BoxError>>) -> Self {
        let readiness = Arc::new(Mutex::new(readiness.into_iter().collect()));
        Self { upstream: upstream.clone(), readiness }
    }
}

impl Service<u32> for Gated {
    type Response = u32;
    type Error = BoxError;
    type Future = <Upstream as Service<u32>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(self.readiness.lock().unwrap().pop_front().unwrap_or(Ok(())))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        self.upstream.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn hedge_whose_readiness_fails_is_lost_and_paid_back() {
    let upstream = script().delay(SECOND).ok(1).service();
    let gated = Gated::new(&upstream, [Ok(()), Err("not ready".into()), Err("not ready".into())]);
    let own = tokens(5);
    let layer = hedging(DELAY).at_most(3).budget(own.clone());
    assert_eq!(layer.layer(gated).oneshot(1).await.unwrap(), 1);
    // Each failure uses up a hedge. The third is sent.
    assert_eq!(times(&upstream), [0, 150]);
    assert_eq!((own.balance(), layer.handle().sent()), (Some(4), 1));
}

#[tokio::test(start_paused = true)]
async fn readiness_that_fails_for_good_never_wins() {
    let upstream = script().delay(SECOND).ok(1).service();
    let gated = Gated::new(&upstream, [Ok(()), Err("broken".into())]);
    let layer = hedging(DELAY).classify(|outcome: Result<&u32, &BoxError>| match outcome {
        Ok(_) => buttress_core::Verdict::Success,
        Err(_) => buttress_core::Verdict::Permanent,
    });
    assert_eq!(layer.layer(gated).oneshot(1).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn readiness_that_a_layer_below_rejects_ends_the_hedging() {
    let upstream = script().delay(SECOND).ok(1).service();
    let gated = Gated::new(&upstream, [Ok(()), Err(rejection(Reason::CircuitOpen).into())]);
    let layer = hedging(DELAY).at_most(3);
    assert_eq!(layer.layer(gated).oneshot(1).await.unwrap(), 1);
    assert_eq!(upstream.calls(), 1);
    let expected = counts!(HedgeSnapshot { calls: 1, delay: Some(DELAY) });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn readiness_failure_after_a_failure_sends_the_next_hedge() {
    let upstream = script().delay(10 * MS).answer(|_| Err("first".into())).ok(2).service();
    let gated = Gated::new(&upstream, [Ok(()), Err("broken".into())]);
    let layer = hedging(DELAY).at_most(2).after_failures();
    assert_eq!(layer.layer(gated).oneshot(1).await.unwrap(), 2);
    let broken =
        Gated::new(&upstream, std::iter::once(Ok(())).chain((0..9).map(|_| Err("broken".into()))));
    let upstream = script().answer(|_| Err("first".into())).service();
    let gated = Gated { upstream: upstream.clone(), ..broken };
    let error = layer.layer(gated).oneshot(1).await.unwrap_err();
    assert_eq!(error.to_string(), "first");
    assert_eq!(upstream.calls(), 1);
}

/// The time passes while the hedge waits, and the first try ignores the deadline.
#[tokio::test(start_paused = true)]
async fn hedge_that_becomes_ready_after_the_deadline_is_withheld_and_paid_back() {
    let probe = Probe::new(|n: u32| Ok::<_, BoxError>(n)).permits(2);
    probe.hold();
    let stranger = probe.reserve();
    let own = tokens(5);
    let layer = hedging(DELAY).budget(own.clone());
    let stack = ServiceBuilder::new().layer(layer.clone()).service(probe.clone());
    let mut call = task::spawn(stack.oneshot(1));
    let deadline = Deadline::after(2 * DELAY);
    let mut poll = || Deadline::with(Some(deadline), || call.poll());
    assert_pending!(poll());
    advance(DELAY + MS).await;
    assert_pending!(poll());
    assert_eq!((probe.waiting(), own.balance()), (1, Some(4)));
    advance(DELAY).await;
    drop(stranger);
    assert_pending!(poll());
    assert_eq!((probe.live(), probe.reserved(), own.balance()), (1, 0, Some(5)));
    let withheld = WithheldCounts::from([(WithheldReason::Deadline, 1)]);
    assert_eq!((layer.handle().sent(), layer.handle().snapshot().withheld), (0, withheld));
}

/// A service that is ready once, and then never again.
#[derive(Clone)]
struct ReadyOnce {
    upstream: Upstream,
    was_ready: Arc<Mutex<bool>>,
}

impl Service<u32> for ReadyOnce {
    type Response = u32;
    type Error = BoxError;
    type Future = <Upstream as Service<u32>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let was_ready = std::mem::replace(&mut *self.was_ready.lock().unwrap(), true);
        if was_ready { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn call(&mut self, request: u32) -> Self::Future {
        self.upstream.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn failed_call_waits_for_readiness_until_its_deadline_or_for_60_s_without_one() {
    for (deadline, waited) in [(None, 60), (Some(90), 90), (Some(20), 20)] {
        let upstream = script().answer(|_| Err("first".into())).service();
        let once = ReadyOnce { upstream: upstream.clone(), was_ready: Arc::default() };
        let own = tokens(5);
        let layer = hedging(DELAY).after_failures().budget(own.clone());
        let start = Instant::now();
        let mut call = Box::pin(layer.layer(once).oneshot(1));
        let deadline = deadline.map(|seconds| Deadline::after(seconds * SECOND));
        let call = std::future::poll_fn(|cx| Deadline::with(deadline, || call.as_mut().poll(cx)));
        let outcome = timeout(600 * SECOND, call).await.expect("the wait has an end");
        assert_eq!(outcome.unwrap_err().to_string(), "first");
        assert_eq!(start.elapsed().as_secs(), waited);
        assert_eq!((upstream.calls(), layer.handle().sent(), own.balance()), (1, 0, Some(5)));
    }
}
