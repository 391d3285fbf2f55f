//! The signals beside an outcome.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress_core::{Deadline, Signals, Spent};
use buttress_fallback::FallbackLayer;
use buttress_testkit::TestError;
use tower::{Layer, Service, ServiceExt, service_fn};

use super::support::judge;

const SECOND: Duration = Duration::from_secs(1);

fn gave_up(spent: Spent) -> Signals {
    let mut signals = Signals::default();
    (signals.gave_up, signals.deadline) = (true, Some(Deadline::after(SECOND)));
    signals.spent = spent;
    signals
}

fn degraded(spent: Spent) -> Signals {
    let mut signals = Signals::default();
    (signals.degraded, signals.spent) = (true, spent);
    signals
}

/// A service that raises `signals` with its outcome, after `polls` polls.
fn raising(
    signals: Signals,
    polls: u32,
    outcome: Result<u32, TestError>,
) -> impl Service<u32, Response = u32, Error = TestError, Future: Send> + Clone {
    service_fn(move |_: u32| {
        let mut left = polls;
        poll_fn(move |cx| {
            if left == 0 {
                signals.raise();
                return Poll::Ready(outcome);
            }
            left -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    })
}

/// Polls a call to its end. Returns its outcome, and the signals of the poll that returned it.
fn run<S: Service<u32>>(service: S) -> (Result<S::Response, S::Error>, Signals) {
    let mut call = pin!(service.oneshot(1));
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        let (polled, signals) = Signals::watch(|| call.as_mut().poll(&mut cx));
        if let Poll::Ready(outcome) = polled {
            return (outcome, signals);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn outcome_outside_the_set_passes_with_its_signals() {
    let layer = FallbackLayer::value(7).classify(judge);
    for outcome in [Ok(1), Err(TestError::NotFound)] {
        let signals = gave_up(Spent::new(2, 1));
        let service = layer.layer(raising(signals, 1, outcome));
        assert_eq!(run(service), (outcome, signals));
    }
}

#[tokio::test(start_paused = true)]
async fn signals_of_a_pending_poll_pass() {
    let service = service_fn(|_: u32| {
        poll_fn(|_| {
            Signals::raise_gave_up();
            Poll::<Result<u32, TestError>>::Pending
        })
    });
    let mut call = Box::pin(FallbackLayer::value(7).layer(service).oneshot(1));
    let mut cx = Context::from_waker(Waker::noop());
    let (polled, signals) = Signals::watch(|| Pin::new(&mut call).poll(&mut cx));
    assert!(polled.is_pending());
    assert!(signals.gave_up);
}

/// The answer is no failure, so the reasons of the failure end here. The calls were made.
#[tokio::test(start_paused = true)]
async fn answer_raises_degraded_and_keeps_of_the_first_outcome_only_what_was_spent() {
    let spent = Spent::new(2, 1);
    let first = || raising(gave_up(spent), 1, Err(TestError::Failed));
    let expected = (Ok(7), degraded(spent));
    assert_eq!(run(FallbackLayer::value(7).layer(first())), expected);
    let layer = FallbackLayer::answer(|_, _: Result<&u32, &TestError>| 7);
    assert_eq!(run(layer.layer(first())), expected);
    let alternative = raising(Signals::default(), 1, Ok(7));
    assert_eq!(run(FallbackLayer::service(alternative).layer(first())), expected);
}

#[tokio::test(start_paused = true)]
async fn answer_of_the_alternative_passes_with_its_own_signals() {
    let first = raising(gave_up(Spent::new(1, 0)), 1, Err(TestError::Failed));
    let mut own = gave_up(Spent::new(2, 5));
    let alternative = raising(own, 1, Ok(7));
    own.spent = Spent::new(3, 5);
    own.degraded = true;
    assert_eq!(run(FallbackLayer::service(alternative).layer(first)), (Ok(7), own));
}

#[tokio::test(start_paused = true)]
async fn first_outcome_is_returned_with_its_signals_and_all_that_was_spent() {
    let mut signals = gave_up(Spent::new(1, 1));
    let first = raising(signals, 1, Err(TestError::Failed));
    let mut other = degraded(Spent::new(2, 0));
    other.deadline = Some(Deadline::after(9 * SECOND));
    let alternative = raising(other, 1, Err(TestError::NotFound));
    let service = FallbackLayer::service(alternative).layer(first);
    signals.spent = Spent::new(3, 1);
    assert_eq!(run(service), (Err(TestError::Failed), signals));
}

#[tokio::test(start_paused = true)]
async fn first_outcome_is_returned_with_its_signals_if_the_alternative_is_full() {
    let signals = gave_up(Spent::new(1, 1));
    let first = raising(signals, 1, Err(TestError::Failed));
    let alternative = raising(Signals::default(), 0, Ok(7));
    let service = FallbackLayer::service(alternative).at_most(0).layer(first);
    assert_eq!(run(service), (Err(TestError::Failed), signals));
}

#[tokio::test(start_paused = true)]
async fn observed_outcome_passes_with_its_signals() {
    let signals = gave_up(Spent::new(1, 1));
    let first = raising(signals, 1, Err(TestError::Failed));
    let service = FallbackLayer::value(7).observe().layer(first);
    assert_eq!(run(service), (Err(TestError::Failed), signals));
}

#[tokio::test(start_paused = true)]
async fn signals_of_the_caller_are_left_alone() {
    let ((), signals) = Signals::watch(|| {
        Signals::raise_gave_up();
        let first = raising(Signals::default(), 0, Err(TestError::Failed));
        assert_eq!(run(FallbackLayer::value(7).layer(first)).0, Ok(7));
    });
    let mut expected = Signals::default();
    expected.gave_up = true;
    assert_eq!(signals, expected);
}
