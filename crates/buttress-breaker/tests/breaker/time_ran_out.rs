//! Calls that end without an answer.

use std::time::Duration;

use buttress_breaker::{BreakerLayer, CircuitState, Ratio};
use buttress_core::{Deadline, Reason, Verdict};
use buttress_deadline::DeadlineLayer;
use tokio::time::{advance, sleep, timeout};
use tokio_test::{assert_pending, task};
use tower::{ServiceBuilder, ServiceExt};

use crate::support::{Case, Error, Reply, SECOND, judge, ms, upstream};

/// Makes a call under a deadline, and drops it after `time`.
async fn drop_after(case: &Case, deadline: Option<Duration>, time: Duration) {
    let call = case.service.clone().oneshot(Reply::Never);
    let deadline = deadline.map(Deadline::after);
    let mut call = task::spawn(Deadline::with(deadline, || {
        let mut call = Box::pin(call);
        // The service is ready, so the first poll makes the call.
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        call
    }));
    assert_pending!(call.poll());
    advance(time).await;
    drop(call);
}

/// CB-22.
#[tokio::test(start_paused = true)]
async fn thousand_cancellations_leave_the_circuit_closed() {
    let case = Case::new(BreakerLayer::new());
    for deadline in [None, Some(SECOND)] {
        for _ in 0..500 {
            drop_after(&case, deadline, ms(1)).await;
        }
    }
    assert_eq!(case.state(), CircuitState::Closed);
    assert_eq!(case.counts(), [0, 0, 0]);
    case.many(1, Reply::Answer).await;
}

#[tokio::test(start_paused = true)]
async fn call_dropped_after_its_deadline_is_a_failure() {
    let case = Case::new(BreakerLayer::new());
    drop_after(&case, Some(ms(100)), ms(99)).await;
    assert_eq!(case.counts(), [0, 0, 0]);
    drop_after(&case, Some(ms(100)), ms(100)).await;
    assert_eq!(case.counts(), [1, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn call_dropped_after_a_deadline_until_the_head_is_a_failure() {
    let (upstream, _) = upstream();
    let layer = BreakerLayer::new();
    let handle = layer.handle();
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(ms(100)).until_head())
        .layer(layer.classify(judge as fn(Result<&(), &Error>) -> Verdict))
        .service(upstream);
    service.oneshot(Reply::Never).await.unwrap_err();
    assert_eq!(handle.counts().failures, 1);
}

/// Peers left timeouts unrecorded: 200 timeouts, and the circuit stayed closed.
#[tokio::test(start_paused = true)]
async fn hung_service_under_an_outer_deadline_opens_the_circuit() {
    let (upstream, _) = upstream();
    let layer = BreakerLayer::new();
    let handle = layer.handle();
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(SECOND))
        .layer(layer.classify(judge as fn(Result<&(), &Error>) -> Verdict))
        .service(upstream);
    for _ in 0..5 {
        assert_eq!(handle.state(), CircuitState::Closed);
        let error = service.clone().oneshot(Reply::Never).await.unwrap_err();
        assert_eq!(error.rejection().reason(), Reason::DeadlineExceeded);
    }
    assert_eq!(handle.state(), CircuitState::Open);
    let error = service.oneshot(Reply::Never).await.unwrap_err();
    assert_eq!(error.rejection().reason(), Reason::CircuitOpen);
}

#[tokio::test(start_paused = true)]
async fn hung_service_under_an_inner_deadline_opens_the_circuit() {
    let (upstream, _) = upstream();
    let layer = BreakerLayer::new();
    let handle = layer.handle();
    let service = ServiceBuilder::new()
        .layer(layer.classify(judge as fn(Result<&(), &Error>) -> Verdict))
        .layer(DeadlineLayer::new(SECOND))
        .service(upstream);
    for _ in 0..5 {
        service.clone().oneshot(Reply::Never).await.unwrap_err();
    }
    assert_eq!(handle.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn patience_judges_a_dropped_call_by_the_time_that_the_service_had() {
    for deadline in [None, Some(ms(1)), Some(60 * SECOND)] {
        let case = Case::new(BreakerLayer::new().patience(ms(500)));
        drop_after(&case, deadline, ms(499)).await;
        assert_eq!(case.counts(), [0, 0, 0], "{deadline:?}");
        drop_after(&case, deadline, ms(500)).await;
        assert_eq!(case.counts(), [1, 1, 0], "{deadline:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn caller_with_a_deadline_of_a_millisecond_cannot_open_a_circuit_with_patience() {
    for is_outer in [true, false] {
        let (upstream, _) = upstream();
        let layer = BreakerLayer::new().patience(ms(500));
        let handle = layer.handle();
        let (outer, inner) = if is_outer { (ms(1), SECOND) } else { (SECOND, ms(1)) };
        let service = ServiceBuilder::new()
            .layer(DeadlineLayer::new(outer))
            .layer(layer.classify(judge as fn(Result<&(), &Error>) -> Verdict))
            .layer(DeadlineLayer::new(inner))
            .service(upstream);
        for _ in 0..100 {
            service.clone().oneshot(Reply::Never).await.unwrap_err();
        }
        assert_eq!(handle.counts().calls, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn patience_judges_every_outcome_whose_time_ran_out() {
    for verdict in [
        Verdict::TimedOut,
        Verdict::Expired,
        Verdict::rejected("deadline", Reason::DeadlineExceeded, None),
    ] {
        let case = Case::new(BreakerLayer::new().patience(ms(500)));
        case.many(1, Reply::ErrorAfter(ms(499), verdict)).await;
        assert_eq!(case.counts(), [0, 0, 0], "{verdict:?}");
        case.many(1, Reply::ErrorAfter(ms(500), verdict)).await;
        assert_eq!(case.counts(), [1, 1, 0], "{verdict:?}");
    }
    let case = Case::new(BreakerLayer::new().patience(ms(500)));
    case.many(1, Reply::Error(Verdict::Transient)).await;
    assert_eq!(case.counts(), [1, 1, 0], "an answer is judged as before");
}

#[tokio::test(start_paused = true)]
async fn foreign_timeout_that_drops_calls_is_visible_with_patience() {
    let case = Case::new(BreakerLayer::new().patience(ms(500)));
    for _ in 0..5 {
        timeout(SECOND, case.service.clone().oneshot(Reply::Never)).await.unwrap_err();
    }
    assert_eq!(case.state(), CircuitState::Open);
}

/// SEA `breaker/abandoned_policy.rs` (CB-23) opens the circuit if every call of a window was
/// abandoned. Here the time that the service had decides, with or without a success between.
#[tokio::test(start_paused = true)]
async fn abandoned_calls_count_with_patience_although_others_succeed() {
    let case = Case::new(BreakerLayer::new().patience(ms(50)).failures(Ratio::percent(50), 4));
    for _ in 0..2 {
        case.many(1, Reply::Answer).await;
        drop_after(&case, None, ms(50)).await;
    }
    assert_eq!(case.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn probe_that_is_dropped_gives_its_place_back_at_once() {
    let case = Case::after_interval(BreakerLayer::new().probes(1, 1)).await;
    for _ in 0..10 {
        drop_after(&case, Some(SECOND), ms(1)).await;
        assert_eq!(case.state(), CircuitState::HalfOpen);
    }
    case.many(1, Reply::Answer).await;
    assert_eq!(case.state(), CircuitState::Ramp);
    let case = Case::after_interval(BreakerLayer::new().probes(1, 1)).await;
    drop_after(&case, Some(ms(1)), ms(1)).await;
    assert_eq!(case.state(), CircuitState::Open, "a probe whose deadline passed has failed");
    sleep(SECOND).await;
}
