//! Samples of an adaptive limit, and outcomes that are none.

use buttress_control::AcceptRatio;
use buttress_core::{
    BoxError, Classify, Criticality, Deadline, Origin, Reason, Rejection, RetryHint, Verdict,
};
use buttress_deadline::DeadlineLayer;
use buttress_testkit::counts;
use buttress_throttle::{ThrottleLayer, ThrottleSnapshot};
use tokio::time::advance;
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_service::Service;

use crate::{
    notes::Notes,
    support::{limited, ms, reason, worker},
};

#[tokio::test(start_paused = true)]
async fn only_calls_near_the_limit_are_samples() {
    let notes = Notes::of(4);
    let service = limited(&ThrottleLayer::adaptive(notes.clone()));
    service.clone().oneshot(10).await.unwrap();
    assert_eq!(notes.take(), []);
    let calls = [10, 20, 30].map(|millis| tokio::task::spawn(service.clone().oneshot(millis)));
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(notes.take(), [(ms(20), 2, false), (ms(30), 3, false)]);
}

/// An error that carries its verdict.
#[derive(Clone, Copy, Debug)]
struct Failure(Verdict);

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Self(Verdict::from_rejection(&rejection))
    }
}

#[tokio::test(start_paused = true)]
async fn timeouts_and_shed_calls_are_signs_of_overload_and_other_failures_are_none() {
    let notes = Notes::of(1);
    let meaning = |outcome: Result<&(), &Failure>| match outcome {
        Ok(()) => Verdict::Success,
        Err(Failure(verdict)) => *verdict,
    };
    let service = ThrottleLayer::adaptive(notes.clone())
        .classify(meaning)
        .layer(service_fn(|verdict| async move { Err(Failure(verdict)) }));
    let local = Verdict::from_rejection(&Rejection::new(Reason::Overloaded, Origin::new("test")));
    for (verdict, sample) in [
        (Verdict::Permanent, Some(false)),
        (Verdict::TimedOut, Some(true)),
        (Verdict::Expired, Some(true)),
        (Verdict::Throttled(None), Some(true)),
        (Verdict::Throttled(Some(RetryHint::Never)), Some(true)),
        (Verdict::Transient, None),
        (Verdict::NeverProcessed, None),
        (Verdict::Unknown, None),
        (local, None),
    ] {
        service.clone().oneshot(verdict).await.unwrap_err();
        let seen = notes.take();
        assert_eq!(seen.first().map(|(_, _, dropped)| *dropped), sample, "{verdict:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn abandoned_call_is_a_sample_only_when_past_its_deadline() {
    let notes = Notes::of(1);
    let layer = ThrottleLayer::adaptive(notes.clone());
    let mut given_up = task::spawn(limited(&layer).oneshot(100));
    assert_pending!(given_up.poll());
    drop(given_up);
    assert_eq!(notes.take(), Vec::new());
    assert_eq!(layer.handle().in_flight(), 0);

    let patience = DeadlineLayer::new(ms(30));
    let stack = ServiceBuilder::new().layer(patience).layer(layer.clone()).service(worker());
    assert_eq!(reason(stack.clone().oneshot(100).await), Reason::DeadlineExceeded);
    drop(stack);
    assert_eq!(notes.take(), vec![(ms(30), 1, true)]);
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn call_abandoned_after_the_unloaded_latency_is_a_sample_of_its_duration() {
    let notes = Notes { learned: Some(ms(10)), ..Notes::of(1) };
    let layer = ThrottleLayer::adaptive(notes.clone());
    for (patience, sample) in [(5, None), (10, None), (11, Some(11)), (100, Some(100))] {
        let mut given_up = task::spawn(limited(&layer).oneshot(1000));
        assert_pending!(given_up.poll());
        advance(ms(patience)).await;
        drop(given_up);
        let sample: Vec<_> = sample.into_iter().map(|millis| (ms(millis), 1, false)).collect();
        assert_eq!(notes.take(), sample, "after {patience} ms");
    }
    let unknown = Notes { learned: None, ..notes };
    let layer = ThrottleLayer::adaptive(unknown.clone());
    let mut given_up = task::spawn(limited(&layer).oneshot(1000));
    assert_pending!(given_up.poll());
    advance(ms(100)).await;
    drop(given_up);
    assert_eq!(unknown.take(), []);
}

/// All that fails was made on this side.
#[derive(Clone, Debug)]
struct Local;

impl Classify<u64, u64, BoxError> for Local {
    type Seed = ();

    fn seed(&self, _: &u64) {}

    fn classify(&self, (): &(), outcome: Result<&u64, &BoxError>) -> Verdict {
        outcome.map_or(Verdict::Permanent, |_| Verdict::Success)
    }

    fn is_callers_own(&self, (): &(), outcome: Result<&u64, &BoxError>) -> bool {
        outcome.is_err()
    }
}

#[tokio::test(start_paused = true)]
async fn error_that_no_server_sent_is_no_sample_and_no_accepted_call() {
    let failing = service_fn(|_: u64| async { Err::<u64, BoxError>("not sent".into()) });
    let notes = Notes::of(1);
    let layer = ThrottleLayer::adaptive(notes.clone()).classify(Local);
    layer.layer(failing).oneshot(1).await.unwrap_err();
    assert_eq!(notes.take(), []);
    limited(&layer).oneshot(1).await.unwrap();
    assert_eq!(notes.take(), [(ms(1), 1, false)]);

    let layer = ThrottleLayer::accept_ratio_with(&AcceptRatio::new()).classify(Local);
    for _ in 0..100 {
        layer.layer(failing).oneshot(1).await.unwrap_err();
    }
    let rejection = || layer.handle().rejection_probability(Criticality::Critical);
    assert_eq!(layer.handle().rejected(), 0);
    assert!(rejection().abs() < f64::EPSILON);
    let down = |_: Result<&u64, &BoxError>| Verdict::Transient;
    layer.clone().classify(down).layer(failing).oneshot(1).await.unwrap_err();
    assert!(rejection() > 0.4, "nothing was accepted: {}", rejection());
}

#[tokio::test(start_paused = true)]
async fn timeout_below_is_overload_and_rejection_below_is_no_sample() {
    let notes = Notes::of(1);
    let layer = ThrottleLayer::adaptive(notes.clone());
    let attempt = DeadlineLayer::new(ms(20));
    let stack = ServiceBuilder::new().layer(layer.clone()).layer(attempt).service(worker());
    assert_eq!(reason(stack.oneshot(100).await), Reason::DeadlineExceeded);
    assert_eq!(notes.take(), [(ms(20), 1, true)]);

    let full = ThrottleLayer::concurrency(0);
    let stack = ServiceBuilder::new().layer(layer).layer(full).service(worker());
    assert_eq!(reason(stack.oneshot(100).await), Reason::Overloaded);
    assert_eq!(notes.take(), []);
}

#[tokio::test(start_paused = true)]
async fn timeout_inside_a_custom_error_counts_when_classified() {
    let notes = Notes::of(1);
    let layer = ThrottleLayer::adaptive(notes.clone());
    let stuck = service_fn(|(): ()| std::future::pending::<Result<(), Failure>>());
    let attempt = DeadlineLayer::new(ms(20)).layer(stuck);
    layer.layer(attempt.clone()).oneshot(()).await.unwrap_err();
    assert_eq!(notes.take(), [], "it may be any failure");
    let meaning = |outcome: Result<&(), &Failure>| match outcome {
        Ok(()) => Verdict::Success,
        Err(Failure(verdict)) => *verdict,
    };
    layer.classify(meaning).layer(attempt).oneshot(()).await.unwrap_err();
    assert_eq!(notes.take(), [(ms(20), 1, true)]);
}

#[tokio::test(start_paused = true)]
async fn raised_adaptive_limit_admits_waiters_at_once() {
    let notes = Notes::of(1);
    let layer = ThrottleLayer::adaptive(notes.clone()).queue(9);
    let service = limited(&layer);
    let mut running = task::spawn(service.clone().oneshot(10));
    assert_pending!(running.poll());
    let mut waiting: Vec<_> = (0..3).map(|_| task::spawn(service.clone().oneshot(10))).collect();
    for call in &mut waiting {
        assert_pending!(call.poll());
    }
    *notes.next.lock().unwrap() = Some(3);
    running.await.unwrap();
    let expected =
        counts!(ThrottleSnapshot { admitted: [0, 0, 1, 0], in_flight: Some(3), limit: Some(3) });
    assert_eq!(layer.handle().snapshot(), expected);
    assert!(waiting.iter().all(task::Spawn::is_woken));
}

#[tokio::test(start_paused = true)]
async fn sample_excludes_the_time_in_the_queue() {
    let notes = Notes::of(1);
    let service = limited(&ThrottleLayer::adaptive(notes.clone()).queue(9));
    let calls = [10, 10].map(|millis| tokio::task::spawn(service.clone().oneshot(millis)));
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(notes.take(), [(ms(10), 1, false), (ms(10), 1, false)]);
}

#[tokio::test(start_paused = true)]
async fn queued_call_keeps_its_own_deadline_when_polled_elsewhere() {
    let notes = Notes::of(1);
    let layer = ThrottleLayer::adaptive(notes.clone()).queue(1);
    let service = limited(&layer);
    let mut running = task::spawn(service.clone().oneshot(1000));
    assert_pending!(running.poll());
    let mut ready = service.clone();
    ready.ready().await.unwrap();
    let call = Deadline::with(Some(Deadline::after(ms(30))), || ready.call(1000));
    let mut waiting = task::spawn(call);
    assert_pending!(waiting.poll());
    drop(running);
    assert_pending!(waiting.poll());
    advance(ms(31)).await;
    drop(waiting);
    assert_eq!(notes.take(), [(ms(31), 1, true)]);
}

#[tokio::test(start_paused = true)]
async fn call_is_a_single_sample_however_late_it_ends() {
    let notes = Notes::of(1);
    let service = limited(&ThrottleLayer::adaptive(notes.clone()));
    assert_eq!(Deadline::after(ms(10)).around(service.oneshot(20)).await.unwrap(), 20);
    assert_eq!(notes.take(), [(ms(20), 1, false)]);
}

#[tokio::test(start_paused = true)]
async fn each_service_starts_with_a_fresh_law() {
    let notes = Notes::of(1);
    *notes.next.lock().unwrap() = Some(7);
    let layer = ThrottleLayer::adaptive(notes);
    limited(&layer).oneshot(10).await.unwrap();
    assert_eq!(layer.handle().limit(), 7);
    assert_eq!(layer.per_service().layer(worker()).handle().limit(), 1);
}

#[tokio::test(start_paused = true)]
async fn law_that_returns_zero_gets_a_limit_of_one() {
    let notes = Notes::of(0);
    let layer = ThrottleLayer::adaptive(notes.clone());
    assert_eq!(layer.handle().limit(), 1);
    let service = limited(&layer);
    service.clone().oneshot(10).await.unwrap();
    assert_eq!(notes.take().len(), 1);
    assert_eq!(layer.handle().limit(), 1);
    service.oneshot(10).await.unwrap();
}
