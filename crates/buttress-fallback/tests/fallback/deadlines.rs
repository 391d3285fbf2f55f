//! Deadlines inside and around the layer.

use std::{
    future::{Future, pending},
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress_core::{BoxError, Deadline, Verdict};
use buttress_deadline::DeadlineLayer;
use buttress_fallback::{FallbackLayer, FallbackSnapshot};
use buttress_testkit::{TestError, counts};
use tokio::time::Instant;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use super::support::{failing, poll_once, tenfold};

const SECOND: Duration = Duration::from_secs(1);

/// The layer stands outside the caller's deadline, and sees a timeout.
#[tokio::test(start_paused = true)]
async fn deadline_inside_is_answered_when_it_passes() {
    let started = Instant::now();
    let verdict = |verdict: Verdict, _: Result<&Verdict, &BoxError>| verdict;
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::answer(verdict))
        .layer(DeadlineLayer::new(SECOND))
        .service_fn(|(): ()| pending::<Result<Verdict, BoxError>>());
    assert_eq!(service.oneshot(()).await.unwrap(), Verdict::TimedOut);
    assert_eq!(started.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn alternative_is_not_limited_by_the_deadline_inside() {
    let slow = service_fn(async |number: u32| {
        tokio::time::sleep(5 * SECOND).await;
        Ok::<_, BoxError>((number, Deadline::current()))
    });
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::service(slow))
        .layer(DeadlineLayer::new(SECOND))
        .service_fn(|_: u32| pending::<Result<(u32, Option<Deadline>), BoxError>>());
    assert_eq!(service.oneshot(1).await.unwrap(), (1, None));
}

#[tokio::test(start_paused = true)]
async fn alternative_is_limited_by_a_deadline_layer_of_its_own() {
    let hanging = service_fn(|_: u32| pending::<Result<u32, BoxError>>());
    let layer = FallbackLayer::service(DeadlineLayer::new(2 * SECOND).layer(hanging));
    let service = ServiceBuilder::new()
        .layer(layer.clone())
        .service_fn(async |_: u32| Err(BoxError::from("first")));
    let started = Instant::now();
    assert_eq!(service.oneshot(1).await.unwrap_err().to_string(), "first");
    assert_eq!(started.elapsed().as_secs(), 2);
    assert_eq!(layer.handle().failed(), 1);
}

#[tokio::test(start_paused = true)]
async fn alternative_runs_under_the_ambient_deadline() {
    let second = tenfold().pausing(1);
    let service = FallbackLayer::service(second.clone()).layer(failing(TestError::Failed));
    let deadline = Deadline::after(SECOND);
    assert_eq!(deadline.around(service.oneshot(1)).await, Ok(10));
    assert!(!second.ambient().is_empty());
    assert!(second.ambient().iter().all(|(seen, _)| *seen == Some(deadline)));
}

#[tokio::test(start_paused = true)]
async fn alternative_is_not_called_once_the_ambient_deadline_has_passed() {
    let second = tenfold();
    let layer = FallbackLayer::service(second.clone());
    let service = layer.layer(failing(TestError::Failed));
    let outcome = Deadline::at(Instant::now()).around(service.oneshot(1)).await;
    assert_eq!(outcome, Err(TestError::Failed));
    assert_eq!((second.calls(), second.ready_polls()), (0, 0));
    let expected = counts!(FallbackSnapshot { calls: 1, failed: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn alternative_is_not_called_once_a_deadline_until_the_head_has_passed() {
    let second = tenfold();
    let layer = FallbackLayer::service(second.clone());
    let mut call = Box::pin(layer.layer(failing(TestError::Failed)).oneshot(1));
    let mut cx = Context::from_waker(Waker::noop());
    let polled = Deadline::at(Instant::now()).until_head(|| call.as_mut().poll(&mut cx));
    assert_eq!(polled, Poll::Ready(Err(TestError::Failed)));
    assert_eq!((second.calls(), layer.handle().failed()), (0, 1));
}

/// A value takes no time.
#[tokio::test(start_paused = true)]
async fn value_answers_after_the_ambient_deadline_has_passed() {
    let service = FallbackLayer::value(7).layer(failing(TestError::Failed));
    assert_eq!(Deadline::at(Instant::now()).around(service.oneshot(1)).await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn deadline_outside_ends_the_alternative() {
    let second = tenfold();
    second.hold();
    let layer = FallbackLayer::service(second.clone());
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(SECOND))
        .layer(layer.clone())
        .service(failing(TestError::Failed));
    let mut call = Box::pin(service.oneshot(1));
    assert!(poll_once(&mut call).await.is_pending());
    assert_eq!(layer.handle().in_flight(), 1);
    let reason = buttress_core::Reason::DeadlineExceeded;
    assert_eq!(call.await, Err(TestError::Rejected(reason)));
    assert!(second.at_rest());
    assert_eq!(layer.handle().in_flight(), 0);
}
