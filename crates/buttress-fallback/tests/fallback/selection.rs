//! Which outcomes are answered.

use std::{
    future::Future,
    task::{Context, Poll, Waker},
};

use buttress_core::{Attempt, Reason, RetryHint, Verdict};
use buttress_fallback::{FallbackLayer, FallbackSnapshot};
use buttress_testkit::{TestError, counts};
use tower::{Layer, ServiceExt};

use super::support::{Count, failing, judge, tenfold};

const REASONS: [Reason; 8] = [
    Reason::DeadlineExceeded,
    Reason::Overloaded,
    Reason::RateLimited,
    Reason::NeverAdmissible,
    Reason::CircuitOpen,
    Reason::Superseded,
    Reason::Panicked,
    Reason::NotCached,
];

/// Calls a service that fails under `layer` with this verdict, and returns whether it is answered.
async fn is_answered(verdict: Verdict, layer: Layers) -> bool {
    let service = layer.classify(move |_: Result<&u32, &TestError>| verdict);
    let outcome = service.layer(failing(TestError::Failed)).oneshot(1).await;
    assert!(matches!(outcome, Ok(7) | Err(TestError::Failed)), "{outcome:?}");
    outcome.is_ok()
}

type Layers = FallbackLayer<buttress_core::Plain, buttress_fallback::FixedAnswer<u32>>;

#[tokio::test(start_paused = true)]
async fn every_failure_is_answered_by_default_except_permanent_superseded_and_never_admissible() {
    let answered = [
        Verdict::Transient,
        Verdict::TimedOut,
        Verdict::Throttled(None),
        Verdict::Throttled(Some(RetryHint::Never)),
        Verdict::Expired,
        Verdict::NeverProcessed,
        Verdict::Unknown,
    ];
    for verdict in answered {
        assert!(is_answered(verdict, FallbackLayer::value(7)).await, "{verdict:?}");
    }
    for verdict in [Verdict::Success, Verdict::Permanent] {
        assert!(!is_answered(verdict, FallbackLayer::value(7)).await, "{verdict:?}");
    }
    for reason in REASONS {
        let verdict = Verdict::rejected("inner", reason, None);
        let expected = !matches!(reason, Reason::Superseded | Reason::NeverAdmissible);
        assert_eq!(is_answered(verdict, FallbackLayer::value(7)).await, expected, "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn closure_of_when_replaces_the_set() {
    let permanent = || FallbackLayer::value(7).when(|verdict| verdict == Verdict::Permanent);
    assert!(is_answered(Verdict::Permanent, permanent()).await);
    assert!(!is_answered(Verdict::Transient, permanent()).await);
    let superseded = Verdict::rejected("order", Reason::Superseded, None);
    assert!(is_answered(superseded, FallbackLayer::value(7).when(|_| true)).await);
}

#[tokio::test(start_paused = true)]
async fn success_passes_even_if_when_accepts_every_verdict() {
    let asked = Count::default();
    let count = asked.clone();
    let layer = FallbackLayer::value(7).when(move |_| {
        count.add();
        true
    });
    assert_eq!(layer.layer(tenfold()).oneshot(1).await, Ok(10));
    assert_eq!(asked.get(), 0);
    let expected = counts!(FallbackSnapshot { calls: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn classifier_of_the_user_decides_what_failed() {
    // Zero is a failure here, and `Failed` is none.
    let verdict = |outcome: Result<&u32, &TestError>| match outcome {
        Ok(0) => Verdict::Transient,
        _ => Verdict::Success,
    };
    let layer = FallbackLayer::value(7).classify(verdict);
    assert_eq!(layer.layer(tenfold()).oneshot(0).await, Ok(7));
    let failing = failing(TestError::Failed);
    assert_eq!(layer.layer(failing).oneshot(0).await, Err(TestError::Failed));
}

/// FB-01.
#[tokio::test(start_paused = true)]
async fn outcome_outside_the_set_passes_unchanged_and_the_closure_is_not_run() {
    let runs = Count::default();
    let count = runs.clone();
    let layer = FallbackLayer::answer(move |_, _: Result<&u32, &TestError>| {
        count.add();
        7
    });
    let layer = layer.classify(judge);
    let service = layer.layer(failing(TestError::NotFound));
    assert_eq!(service.oneshot(1).await, Err(TestError::NotFound));
    assert_eq!(layer.layer(tenfold()).oneshot(1).await, Ok(10));
    assert_eq!(runs.get(), 0);
    assert_eq!(layer.handle().snapshot(), counts!(FallbackSnapshot { calls: 2 }));
}

/// To the hedge outside, the answer of a spare call would win over the try that is still running.
#[tokio::test(start_paused = true)]
async fn spare_call_is_not_answered() {
    let layer = FallbackLayer::value(7);
    let mut call = Box::pin(layer.layer(failing(TestError::Failed)).oneshot(1));
    let mut cx = Context::from_waker(Waker::noop());
    let spare = Attempt::FIRST.next().spare();
    let polled = spare.with(|| call.as_mut().poll(&mut cx));
    assert_eq!(polled, Poll::Ready(Err(TestError::Failed)));
    assert_eq!(layer.handle().snapshot(), counts!(FallbackSnapshot { calls: 1 }));
}
