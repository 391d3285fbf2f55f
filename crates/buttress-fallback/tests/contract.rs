//! The contract of a tower layer, and calls that are dropped in each of their states.

use std::task::{Context, Poll, ready};

use buttress_core::{BoxError, Plain, Verdict};
use buttress_deadline::DeadlineLayer;
use buttress_fallback::{AlternativeService, FallbackHandle, FallbackLayer, FixedAnswer};
use buttress_testkit::{
    Answer, Clause, Dialect, Failure, Heard, Numbers, Probe, Understand, contract, sweep,
};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};

/// Numbers, in which a fallback turns a failure into an answer of a range of its own.
struct WithFallback;

const FALLBACK: u32 = 1_000_000;

impl Dialect for WithFallback {
    type Request = u32;
    type Response = Answer;
    type Error = BoxError;

    fn request(&self, number: u32) -> u32 {
        number
    }

    fn answer(request: u32) -> Answer {
        Answer(request)
    }

    fn fail(request: u32) -> Result<Answer, BoxError> {
        Err(Box::new(Failure(request)))
    }
}

impl Understand<Answer, BoxError> for WithFallback {
    fn understand(&self, outcome: Result<Answer, BoxError>) -> Heard {
        match outcome {
            Ok(Answer(number)) if number >= FALLBACK => Heard::Failure(number - FALLBACK),
            outcome => Numbers.understand(outcome),
        }
    }
}

fn page(_: Verdict, outcome: Result<&Answer, &BoxError>) -> Answer {
    let failed = outcome.err().and_then(|error| error.downcast_ref());
    Answer(failed.map_or(0, |Failure(number)| FALLBACK + number))
}

type Alternative = BoxCloneSyncService<u32, Answer, BoxError>;

fn alternative() -> FallbackLayer<Plain, AlternativeService<Alternative>> {
    let service = service_fn(async |number: u32| {
        tokio::task::yield_now().await;
        Ok(Answer(FALLBACK + number))
    });
    FallbackLayer::service(BoxCloneSyncService::new(service)).at_most(1000)
}

fn fixed() -> FallbackLayer<Plain, FixedAnswer<Answer>> {
    FallbackLayer::value(Answer(0))
}

/// An answer is no failure, so it comes without the signals that say why the first call failed.
#[tokio::test(start_paused = true)]
async fn layer_that_answers_failures_keeps_all_clauses_but_signals() {
    contract(|| FallbackLayer::answer(page)).without(Clause::Signals).dialect(WithFallback).await;
    contract(alternative).without(Clause::Signals).dialect(WithFallback).await;
}

#[tokio::test(start_paused = true)]
async fn layer_that_passes_failures_keeps_the_contract() {
    contract(|| fixed().when(|_| false)).await;
    contract(|| fixed().observe()).await;
    contract(|| alternative().at_most(0)).await;
}

/// A call that waits for readiness hides the backpressure, and a readiness error is answered.
#[tokio::test(start_paused = true)]
async fn layer_that_awaits_readiness_keeps_all_clauses_but_backpressure() {
    contract(|| fixed().when(|_| false).await_ready()).without(Clause::Backpressure).await;
    contract(|| alternative().await_ready())
        .without(Clause::Backpressure)
        .without(Clause::Signals)
        .dialect(WithFallback)
        .await;
}

fn failing() -> Probe<u32, u32, BoxError> {
    Probe::new(|_| Err(BoxError::from("down"))).permits(1).pausing(2)
}

fn at_rest(handle: &FallbackHandle) -> impl Fn(&str) + use<> {
    let handle = handle.clone();
    move |when| assert_eq!(handle.in_flight(), 0, "{when}: a place is free again")
}

#[tokio::test(start_paused = true)]
async fn call_dropped_before_its_outcome_leaves_nothing_behind() {
    let probe = failing();
    let service = FallbackLayer::value(7);
    let stack = ServiceBuilder::new().layer(service).service(probe.clone());
    let drops = sweep(|| stack.clone().oneshot(1)).over(&probe).await;
    assert_eq!(drops, 5);
}

#[tokio::test(start_paused = true)]
async fn call_dropped_while_the_alternative_runs_leaves_nothing_behind() {
    let first = failing();
    let second = Probe::new(|n: u32| Ok::<_, BoxError>(n)).permits(1).pausing(2);
    let layer = FallbackLayer::service(second.clone());
    let at_rest = at_rest(&layer.handle());
    let stack = ServiceBuilder::new().layer(layer).service(first.clone());
    let drops = sweep(|| stack.clone().oneshot(1)).over(&first).over(&second).also(at_rest).await;
    assert_eq!(drops, 9);
}

#[tokio::test(start_paused = true)]
async fn call_dropped_while_a_service_is_not_ready_leaves_nothing_behind() {
    let first = failing();
    let second = Probe::new(|n: u32| Ok::<_, BoxError>(n)).permits(2).pausing(1);
    let alternative = SlowlyReady { inner: second.clone(), polls: 2 };
    let layer = FallbackLayer::service(alternative).await_ready();
    let at_rest = at_rest(&layer.handle());
    let stack = ServiceBuilder::new()
        .layer(layer)
        .layer(DeadlineLayer::propagate())
        .service(SlowlyReady { inner: first.clone(), polls: 2 });
    let drops = sweep(|| stack.clone().oneshot(1)).over(&first).over(&second).also(at_rest).await;
    // Two polls of readiness and two of the call, then two and one of the alternative.
    assert_eq!(drops, 15);
}

/// A service that holds a permit of `inner` for `polls` polls before it is ready.
struct SlowlyReady<S> {
    inner: S,
    polls: u32,
}

impl<S: Clone> Clone for SlowlyReady<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), polls: 2 }
    }
}

impl<S: Service<u32>> Service<u32> for SlowlyReady<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        ready!(self.inner.poll_ready(cx))?;
        if self.polls == 0 {
            return Poll::Ready(Ok(()));
        }
        self.polls -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, request: u32) -> S::Future {
        self.inner.call(request)
    }
}
