//! What an outcome says of the service.

use std::{panic::AssertUnwindSafe, time::Duration};

use buttress_breaker::{BreakerLayer, CircuitState, Ratio};
use buttress_core::{BoxError, Classify, Deadline, Origin, Reason, Rejection, RetryHint, Verdict};
use buttress_testkit::Probe;
use tokio::time::advance;
use tokio_test::{assert_pending, task};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Case, Error, FAIL, Reply, SECOND, ms};

async fn counted_as(verdict: Verdict) -> [u64; 3] {
    let case = Case::new(BreakerLayer::new());
    case.call(Reply::Error(verdict)).await.unwrap_err();
    case.counts()
}

#[tokio::test(start_paused = true)]
async fn permanent_failure_is_a_success_of_the_service() {
    assert_eq!(counted_as(Verdict::Permanent).await, [1, 0, 0]);
    let case = Case::new(BreakerLayer::new());
    case.many(100, Reply::Error(Verdict::Permanent)).await;
    assert_eq!(case.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn failures_of_the_service_count_as_failures() {
    for verdict in [
        Verdict::Transient,
        Verdict::TimedOut,
        Verdict::Expired,
        Verdict::NeverProcessed,
        Verdict::Unknown,
        Verdict::Throttled(None),
        Verdict::rejected("dedup", Reason::Panicked, None),
        Verdict::rejected("deadline", Reason::DeadlineExceeded, None),
    ] {
        assert_eq!(counted_as(verdict).await, [1, 1, 0], "{verdict:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rejection_by_a_layer_below_is_neutral() {
    for reason in [
        Reason::Overloaded,
        Reason::RateLimited,
        Reason::NeverAdmissible,
        Reason::CircuitOpen,
        Reason::Superseded,
        Reason::NotCached,
    ] {
        assert_eq!(counted_as(Verdict::rejected("any", reason, None)).await, [0, 0, 0], "{reason}");
    }
}

/// CO-04.
#[tokio::test(start_paused = true)]
async fn rejection_inside_a_boxed_error_is_neutral_and_names_its_layer() {
    let layer = BreakerLayer::new();
    let full = |()| async {
        Err::<(), BoxError>(Rejection::new(Reason::Overloaded, Origin::new("pool")).into())
    };
    let service = layer.layer(service_fn(full));
    for _ in 0..100 {
        let error = service.clone().oneshot(()).await.unwrap_err();
        assert_eq!(Rejection::find(&error).unwrap().origin().name(), "pool");
    }
    assert_eq!(layer.handle().counts().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn rejection_by_a_breaker_below_is_neutral_to_the_breaker_above() {
    let (inner, outer) = (BreakerLayer::new().named("inner"), BreakerLayer::new().named("outer"));
    let handles = [inner.handle(), outer.handle()];
    let failing = service_fn(|()| async { Err::<(), BoxError>("down".into()) });
    let service = outer.classify(fails_if_down).layer(inner.layer(failing));
    handles[0].open();
    for _ in 0..100 {
        let error = service.clone().oneshot(()).await.unwrap_err();
        assert_eq!(Rejection::find(&error).unwrap().origin().name(), "inner");
    }
    assert_eq!(handles[0].rejected(), 100);
    assert_eq!(handles[1].counts().calls, 0);
    assert_eq!(handles[1].state(), CircuitState::Closed);
}

fn fails_if_down(outcome: Result<&(), &BoxError>) -> Verdict {
    outcome.map_or_else(
        |error| Rejection::find(error).map_or(Verdict::Transient, Verdict::from_rejection),
        |()| Verdict::Success,
    )
}

#[tokio::test(start_paused = true)]
async fn shed_call_is_a_failure_in_the_ratio_and_no_part_of_a_run() {
    let shed = Reply::Error(Verdict::Throttled(None));
    let case = Case::new(BreakerLayer::new());
    case.many(4, FAIL).await;
    case.many(10, shed).await;
    assert_eq!(case.state(), CircuitState::Closed);
    case.many(1, FAIL).await;
    assert_eq!(case.state(), CircuitState::Open, "the shed calls did not end the run");
    let case = Case::new(BreakerLayer::new());
    case.many(20, shed).await;
    assert_eq!(case.state(), CircuitState::Open, "by the ratio");
}

#[tokio::test(start_paused = true)]
async fn shed_probe_is_a_failure() {
    let case = Case::after_interval(BreakerLayer::new().probes(1, 1)).await;
    case.many(1, Reply::Error(Verdict::Throttled(None))).await;
    assert_eq!(case.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn hint_of_the_call_that_opens_the_circuit_keeps_it_open_for_a_minute_at_most() {
    for (hint, least) in [
        (RetryHint::After(30 * SECOND), 30 * SECOND),
        (RetryHint::Exactly(30 * SECOND), 30 * SECOND),
        (RetryHint::After(3600 * SECOND), 60 * SECOND),
    ] {
        let case = Case::new(BreakerLayer::new());
        case.many(20, Reply::Error(Verdict::Throttled(Some(hint)))).await;
        assert_eq!(case.rejected().await.retry_after(), Some(least), "{hint:?}");
    }
    let case = Case::new(BreakerLayer::new());
    case.many(20, Reply::Error(Verdict::Throttled(Some(RetryHint::Never)))).await;
    assert!(case.rejected().await.retry_after().unwrap() <= SECOND);
}

#[tokio::test(start_paused = true)]
async fn panic_in_the_call_is_a_failure_and_continues() {
    let case = Case::new(BreakerLayer::new());
    for calls in 1..=5 {
        assert_eq!(case.counts(), [calls - 1, calls - 1, 0]);
        let call = tokio::spawn(case.service.clone().oneshot(Reply::Panic));
        assert!(call.await.unwrap_err().is_panic());
    }
    assert_eq!(case.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn panic_before_the_service_returns_a_future_is_a_failure() {
    let layer = BreakerLayer::new();
    let panicking =
        service_fn(|()| -> std::future::Ready<Result<(), BoxError>> { panic!("as told") });
    let mut service = layer.layer(panicking);
    let call = std::panic::catch_unwind(AssertUnwindSafe(|| drop(service.call(()))));
    call.unwrap_err();
    assert_eq!(layer.handle().counts().failures, 1);
}

/// A panic of the caller's own says nothing about the service.
#[tokio::test(start_paused = true)]
async fn call_that_is_dropped_by_a_panic_elsewhere_is_neutral() {
    let case = Case::new(BreakerLayer::new());
    let service = case.service.clone();
    let caller = tokio::spawn(async move {
        let mut call = task::spawn(service.oneshot(Reply::Never));
        assert_pending!(call.poll());
        panic!("as told");
    });
    assert!(caller.await.unwrap_err().is_panic());
    assert_eq!(case.counts(), [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn panic_of_the_classification_is_neutral_and_gives_a_probe_back() {
    let layer = BreakerLayer::new().probes(1, 1).open_for(buttress_breaker::Backoff::none());
    let handle = layer.handle();
    let classify = |outcome: Result<&bool, &BoxError>| match outcome {
        Ok(true) => panic!("as told"),
        _ => Verdict::Success,
    };
    let service = layer.classify(classify).layer(service_fn(async |panics| Ok(panics)));
    handle.open();
    for _ in 0..3 {
        tokio::spawn(service.clone().oneshot(true)).await.unwrap_err();
        assert_eq!(handle.counts().calls, 0);
        assert_eq!(handle.state(), CircuitState::HalfOpen);
    }
    service.oneshot(false).await.unwrap();
    assert_eq!(handle.state(), CircuitState::Ramp);
}

/// The drop of the call that follows is not the end of a call without an answer.
#[tokio::test(start_paused = true)]
async fn panic_of_the_classification_is_neutral_whatever_the_patience_and_the_deadline() {
    let classify = |_: Result<&(), &BoxError>| -> Verdict { panic!("as told") };
    for layer in [BreakerLayer::new().patience(Duration::ZERO), BreakerLayer::new()] {
        let handle = layer.handle();
        let mut service = layer.classify(classify).layer(service_fn(async |()| {
            tokio::time::sleep(SECOND).await;
            Ok(())
        }));
        let call = Deadline::with(Some(Deadline::after(SECOND / 2)), || service.call(()));
        tokio::spawn(call).await.unwrap_err();
        assert_eq!(handle.counts().calls, 0);
    }
}

/// A classifier that panics in `is_callers_own`.
#[derive(Clone)]
struct NobodysFailures;

impl Classify<Reply, (), Error> for NobodysFailures {
    type Seed = ();

    fn seed(&self, _: &Reply) {}

    fn classify(&self, (): &(), _: Result<&(), &Error>) -> Verdict {
        Verdict::Permanent
    }

    fn is_callers_own(&self, (): &(), _: Result<&(), &Error>) -> bool {
        panic!("as told")
    }
}

#[tokio::test(start_paused = true)]
async fn panic_of_the_question_whose_failure_it_is_is_neutral_whatever_the_patience() {
    let layer = BreakerLayer::new().patience(Duration::ZERO);
    let handle = layer.handle();
    let service = layer.classify(NobodysFailures).layer(crate::support::upstream().0);
    tokio::spawn(service.oneshot(FAIL)).await.unwrap_err();
    assert_eq!(handle.counts().calls, 0);
}

/// A classifier that knows which failures never left this side.
#[derive(Clone)]
struct OwnFailures;

impl Classify<Reply, (), Error> for OwnFailures {
    type Seed = ();

    fn seed(&self, _: &Reply) {}

    fn classify(&self, (): &(), outcome: Result<&(), &Error>) -> Verdict {
        crate::support::judge(outcome)
    }

    fn is_callers_own(&self, (): &(), _: Result<&(), &Error>) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn permanent_failure_on_this_side_is_neutral_and_does_not_close_a_circuit() {
    let layer = BreakerLayer::new();
    let handle = layer.handle();
    let service = layer.classify(OwnFailures).layer(crate::support::upstream().0);
    handle.open();
    advance(10 * SECOND).await;
    for _ in 0..10 {
        service.clone().oneshot(Reply::Error(Verdict::Permanent)).await.unwrap_err();
    }
    assert_eq!(handle.state(), CircuitState::HalfOpen);
    assert_eq!(handle.counts().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn error_of_readiness_is_passed_on_and_counts_as_nothing() {
    let probe = Probe::new(Ok::<u32, BoxError>);
    probe.break_down(|| "broken".into());
    let layer = BreakerLayer::new();
    for _ in 0..100 {
        let error = layer.layer(probe.clone()).oneshot(1).await.unwrap_err();
        assert_eq!(error.to_string(), "broken");
    }
    assert_eq!((layer.handle().counts().calls, layer.handle().state()), (0, CircuitState::Closed));
}

#[tokio::test(start_paused = true)]
async fn call_is_slow_if_it_takes_longer_than_the_limit_failed_or_not() {
    let case = Case::new(BreakerLayer::new().slow(ms(500), Ratio::percent(100)));
    case.many(1, Reply::AnswerAfter(ms(500))).await;
    assert_eq!(case.counts(), [1, 0, 0], "not longer than the limit");
    case.many(1, Reply::AnswerAfter(ms(501))).await;
    case.many(1, Reply::ErrorAfter(ms(501), Verdict::Transient)).await;
    assert_eq!(case.counts(), [3, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn slow_calls_open_the_circuit_although_they_succeed() {
    let case = Case::new(BreakerLayer::new().slow(ms(100), Ratio::percent(50)));
    case.many(10, Reply::Answer).await;
    case.many(9, Reply::AnswerAfter(ms(101))).await;
    assert_eq!(case.state(), CircuitState::Closed);
    case.many(1, Reply::AnswerAfter(ms(101))).await;
    assert_eq!(case.state(), CircuitState::Open);
}
