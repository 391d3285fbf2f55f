//! The alternative service.

use std::{
    future::{Future, Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{Attempt, Verdict};
use buttress_fallback::{FallbackLayer, FallbackSnapshot};
use buttress_testkit::{Probe, TestError, counts};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::support::{Count, Counted, failing, judge, poll_once, tenfold};

#[tokio::test(start_paused = true)]
async fn alternative_gets_the_request_if_the_first_service_fails() {
    let (first, second) = (failing(TestError::Failed), tenfold());
    let layer = FallbackLayer::service(second.clone());
    assert_eq!(layer.layer(first.clone()).oneshot(3).await, Ok(30));
    assert_eq!((first.calls(), second.calls()), (1, 1));
    let expected = counts!(FallbackSnapshot { calls: 1, answered: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn alternative_is_not_called_if_the_first_service_answers() {
    let second = tenfold();
    let layer = FallbackLayer::service(second.clone()).classify(judge);
    assert_eq!(layer.layer(tenfold()).oneshot(3).await, Ok(30));
    let not_found = failing(TestError::NotFound);
    assert_eq!(layer.layer(not_found).oneshot(3).await, Err(TestError::NotFound));
    assert_eq!((second.calls(), second.ready_polls()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn first_outcome_is_returned_if_the_alternative_fails_too() {
    let layer = FallbackLayer::service(failing(TestError::NotFound));
    let first = layer.layer(failing(TestError::Failed));
    assert_eq!(first.oneshot(1).await, Err(TestError::Failed));
    let expected = counts!(FallbackSnapshot { calls: 1, failed: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn first_outcome_is_returned_if_the_alternative_never_becomes_ready() {
    let second = tenfold();
    second.break_down(|| TestError::NotFound);
    let layer = FallbackLayer::service(second);
    let first = layer.layer(failing(TestError::Failed));
    assert_eq!(first.oneshot(1).await, Err(TestError::Failed));
    let expected = counts!(FallbackSnapshot { calls: 1, failed: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn first_outcome_is_returned_if_the_response_of_the_alternative_is_a_failure() {
    let verdict = |outcome: Result<&u32, &TestError>| match outcome {
        Ok(0) => Verdict::Throttled(None),
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::Transient,
    };
    let layer = FallbackLayer::service(tenfold()).classify(verdict);
    let service = layer.layer(failing(TestError::Failed));
    assert_eq!(service.clone().oneshot(0).await, Err(TestError::Failed));
    assert_eq!(service.oneshot(1).await, Ok(10));
    let expected = counts!(FallbackSnapshot { calls: 2, answered: 1, failed: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
}

/// A "not found" of the alternative is its answer, unless the layer treats this verdict as a
/// failure.
#[tokio::test(start_paused = true)]
async fn permanent_response_of_the_alternative_is_an_answer_unless_the_layer_answers_permanent() {
    let verdict = |outcome: Result<&u32, &TestError>| match outcome {
        Ok(0) => Verdict::Permanent,
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::Transient,
    };
    let layer = FallbackLayer::service(tenfold()).classify(verdict);
    let service = layer.clone().layer(failing(TestError::Failed));
    assert_eq!(service.oneshot(0).await, Ok(0));
    let service = layer.when(|_| true).layer(failing(TestError::Failed));
    assert_eq!(service.oneshot(0).await, Err(TestError::Failed));
}

#[tokio::test(start_paused = true)]
async fn first_outcome_is_held_while_the_alternative_runs_and_dropped_for_its_answer() {
    let response = Arc::new(());
    let held = Arc::clone(&response);
    let first = service_fn(move |_: u32| ready(Ok::<_, TestError>(Some(Arc::clone(&held)))));
    let second = Probe::new(|_: u32| Ok::<_, TestError>(None));
    second.hold();
    // A response that can be counted, and is a failure.
    let verdict = |outcome: Result<&Option<Arc<()>>, &TestError>| match outcome {
        Ok(None) => Verdict::Success,
        _ => Verdict::Transient,
    };
    let service = FallbackLayer::service(second.clone()).classify(verdict).layer(first);
    let mut call = Box::pin(service.oneshot(1));
    assert!(poll_once(&mut call).await.is_pending());
    assert_eq!(Arc::strong_count(&response), 2, "the test and the held outcome");
    second.release();
    assert!(call.await.unwrap().is_none());
    assert_eq!(Arc::strong_count(&response), 1);
}

#[tokio::test(start_paused = true)]
async fn inner_call_is_dropped_before_the_alternative_is_called() {
    let first = failing(TestError::Failed);
    let seen = first.clone();
    let second = Probe::new(move |number: u32| {
        assert!(seen.at_rest());
        Ok::<_, TestError>(number)
    });
    let service = FallbackLayer::service(second).layer(first);
    assert_eq!(service.oneshot(1).await, Ok(1));
}

/// Each call waits for its own clone, so a call that waits holds no other back.
#[tokio::test(start_paused = true)]
async fn calls_of_the_alternative_run_side_by_side() {
    let second = tenfold().permits(2);
    second.hold();
    let service = FallbackLayer::service(second.clone()).layer(failing(TestError::Failed));
    let mut calls: Vec<_> = (0..3).map(|n| Box::pin(service.clone().oneshot(n))).collect();
    for call in &mut calls {
        assert!(poll_once(call).await.is_pending());
    }
    assert_eq!((second.live(), second.waiting()), (2, 1));
    second.release();
    for (number, call) in (0..).zip(calls) {
        assert_eq!(call.await, Ok(10 * number));
    }
}

#[tokio::test(start_paused = true)]
async fn instance_of_the_alternative_that_was_ready_is_called_and_then_dropped() {
    // A probe panics if another instance is called.
    let second = tenfold().permits(1).pausing(1);
    let service = FallbackLayer::service(second.clone()).layer(failing(TestError::Failed));
    let mut call = Box::pin(service.oneshot(1));
    assert!(poll_once(&mut call).await.is_pending());
    assert_eq!((second.live(), second.reserved()), (1, 0));
    assert_eq!(call.await, Ok(10));
    assert!(second.at_rest());
}

/// The attempts of a retry inside never reached the alternative.
#[tokio::test(start_paused = true)]
async fn alternative_runs_in_the_attempt_of_the_caller() {
    let second = tenfold();
    let service = FallbackLayer::service(second.clone()).layer(failing(TestError::Failed));
    let mut call = Box::pin(service.oneshot(1));
    let attempt = Attempt::FIRST.next();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(attempt.with(|| call.as_mut().poll(&mut cx)).is_ready());
    assert!(second.ambient().iter().all(|(_, seen)| *seen == attempt));
    assert!(!second.ambient().is_empty());
}

#[tokio::test(start_paused = true)]
async fn request_is_cloned_once_to_be_kept_and_once_to_be_sent_again() {
    let clones = Count::default();
    let first = service_fn(|request: Counted| {
        ready(if request.number == 0 { Err(TestError::Failed) } else { Ok(request.number) })
    });
    let second = service_fn(|request: Counted| ready(Ok::<_, TestError>(request.number + 1)));
    let service = FallbackLayer::service(second).layer(first);
    let request = |number| Counted { number, clones: clones.clone() };
    assert_eq!(service.clone().oneshot(request(5)).await, Ok(5));
    assert_eq!(clones.get(), 1);
    assert_eq!(service.oneshot(request(0)).await, Ok(1));
    assert_eq!(clones.get(), 3);
}

/// A service that is `Clone` and `Send`, but not `Sync`.
#[derive(Clone)]
struct NotSync(std::cell::Cell<u32>);

impl Service<u32> for NotSync {
    type Response = u32;
    type Error = TestError;
    type Future = Ready<Result<u32, TestError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TestError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        self.0.set(self.0.get() + request);
        ready(Ok(self.0.get()))
    }
}

#[tokio::test(start_paused = true)]
async fn alternative_that_is_not_sync_makes_futures_that_are_send() {
    let layer = FallbackLayer::service(NotSync(5.into()));
    let service = layer.layer(failing(TestError::Failed));
    let call: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(service.oneshot(1));
    assert_eq!(call.await, Ok(6));
}
