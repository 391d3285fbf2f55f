//! Fixed and computed answers.

use std::future::{pending, ready};

use buttress_core::{BoxError, Rejection, Verdict};
use buttress_fallback::{FallbackLayer, FallbackSnapshot};
use buttress_testkit::{Probe, TestError, counts};
use tower::{Layer, ServiceExt, service_fn};

use super::support::{Count, Counted, failing, judge, poll_once};

/// FB-01.
#[tokio::test(start_paused = true)]
async fn failure_is_answered_with_the_value() {
    let probe = failing(TestError::Failed);
    let layer = FallbackLayer::value(7);
    assert_eq!(layer.layer(probe.clone()).oneshot(1).await, Ok(7));
    assert_eq!(probe.calls(), 1);
    let expected = counts!(FallbackSnapshot { calls: 1, answered: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn closure_that_does_not_read_the_outcome_needs_no_types() {
    let service = FallbackLayer::answer(|_, _| 7).layer(failing(TestError::Failed));
    assert_eq!(service.oneshot(1).await, Ok(7));
    let parts = FallbackLayer::answer(|_, outcome: Result<&u32, _>| outcome.map_or(7, |n| *n));
    assert_eq!(parts.layer(failing(TestError::Failed)).oneshot(1).await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn closure_runs_once_per_failure_and_sees_the_verdict_and_the_outcome() {
    let runs = Count::default();
    let count = runs.clone();
    let answer = move |verdict: Verdict, outcome: Result<&u32, &TestError>| {
        count.add();
        assert_eq!((verdict, outcome), (Verdict::Transient, Err(&TestError::Failed)));
        7
    };
    let service = FallbackLayer::answer(answer).classify(judge).layer(failing(TestError::Failed));
    for calls in 1..=3 {
        assert_eq!(service.clone().oneshot(1).await, Ok(7));
        assert_eq!(runs.get(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn closure_sees_the_response_if_the_response_is_the_failure() {
    let verdict = |outcome: Result<&u32, &TestError>| match outcome {
        Ok(13) => Verdict::Transient,
        _ => Verdict::Success,
    };
    let answer = |_, outcome: Result<&u32, &TestError>| outcome.map_or(0, |number| number + 1);
    let service = FallbackLayer::answer(answer)
        .classify(verdict)
        .layer(service_fn(|number: u32| ready(Ok::<_, TestError>(number))));
    assert_eq!(service.clone().oneshot(13).await, Ok(14));
    assert_eq!(service.oneshot(12).await, Ok(12));
}

/// FB-01.
#[tokio::test(start_paused = true)]
async fn dropped_call_runs_no_fallback() {
    let runs = Count::default();
    let count = runs.clone();
    let answer = move |_, _: Result<&u32, &TestError>| {
        count.add();
        7
    };
    let layer = FallbackLayer::answer(answer);
    let probe = failing(TestError::Failed);
    probe.hold();
    let mut call = Box::pin(layer.layer(probe.clone()).oneshot(1));
    assert!(poll_once(&mut call).await.is_pending());
    drop(call);
    probe.release();
    assert_eq!(runs.get(), 0);
    assert_eq!(layer.handle().snapshot(), counts!(FallbackSnapshot { calls: 1 }));
}

/// A request and a response that can be neither cloned nor compared.
struct Once;

/// The answer keeps nothing of the request, and the response need not be `Clone`.
#[tokio::test(start_paused = true)]
async fn closure_answers_requests_and_responses_that_are_not_clone() {
    let service = FallbackLayer::answer(|_, _: Result<&Once, &BoxError>| Once)
        .layer(service_fn(|Once| ready(Err::<Once, _>(BoxError::from("down")))));
    assert!(service.oneshot(Once).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn value_is_cloned_for_each_answer_and_for_nothing_else() {
    let clones = Count::default();
    let layer = FallbackLayer::value(Counted { number: 7, clones: clones.clone() });
    let probe = Probe::new(|fails: bool| {
        if fails {
            return Err(TestError::Failed);
        }
        Ok(Counted { number: 1, clones: Count::default() })
    });
    let service = layer.layer(probe);
    assert_eq!(service.clone().oneshot(false).await.unwrap().number, 1);
    assert_eq!(clones.get(), 0);
    assert_eq!(service.clone().oneshot(true).await.unwrap().number, 7);
    assert_eq!(service.oneshot(true).await.unwrap().number, 7);
    assert_eq!(clones.get(), 2);
}

/// The error enum of a service that knows nothing of this crate.
#[derive(Debug, PartialEq)]
enum DatabaseError {
    Down,
}

/// The layer makes no rejection of its own, so the error needs no conversion.
#[tokio::test(start_paused = true)]
async fn error_type_of_the_service_needs_no_conversion_from_a_rejection() {
    let verdict = |outcome: Result<&u32, &DatabaseError>| match outcome {
        Ok(_) => Verdict::Success,
        Err(DatabaseError::Down) => Verdict::Unknown,
    };
    let service = FallbackLayer::value(0)
        .classify(verdict)
        .layer(service_fn(|_: &str| ready(Err(DatabaseError::Down))));
    assert_eq!(service.oneshot("stock").await, Ok(0));
}

/// The inner call may hold a permit or a connection that the answer's caller wants.
#[tokio::test(start_paused = true)]
async fn inner_call_is_dropped_before_the_closure_runs() {
    let probe = failing(TestError::Failed);
    let seen = probe.clone();
    let answer = move |_, _: Result<&u32, &TestError>| {
        assert_eq!(seen.live(), 0);
        7
    };
    assert_eq!(FallbackLayer::answer(answer).layer(probe).oneshot(1).await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn rejection_of_a_layer_inside_is_answered_in_plain_mode() {
    let why =
        Rejection::new(buttress_core::Reason::Overloaded, buttress_core::Origin::new("throttle"));
    let verdicts = |verdict: Verdict, _: Result<&Verdict, &BoxError>| verdict;
    let service = FallbackLayer::answer(verdicts)
        .layer(service_fn(move |(): ()| ready(Err::<Verdict, _>(BoxError::from(why.clone())))));
    let verdict = service.oneshot(()).await.unwrap();
    assert_eq!(verdict, Verdict::rejected("throttle", buttress_core::Reason::Overloaded, None));
}

#[tokio::test(start_paused = true)]
async fn pending_call_stays_pending() {
    let service =
        FallbackLayer::value(7).layer(service_fn(|(): ()| pending::<Result<u32, BoxError>>()));
    let mut call = Box::pin(service.oneshot(()));
    assert!(poll_once(&mut call).await.is_pending());
    assert!(poll_once(&mut call).await.is_pending());
}
