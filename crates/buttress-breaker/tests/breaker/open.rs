//! An open circuit.

use buttress_breaker::{Backoff, BreakerLayer, CircuitState, Jitter, Ratio};
use buttress_core::{BoxError, Reason, Rejection, Verdict};
use buttress_testkit::Probe;
use tokio::time::{Instant, advance, timeout};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::support::{Case, FAIL, Reply, SECOND, ms};

#[tokio::test(start_paused = true)]
async fn open_circuit_rejects_at_once_and_tells_the_time_left() {
    let layer = BreakerLayer::new().open_for(Backoff::constant(4 * SECOND)).named("db");
    let case = Case::new(layer);
    case.many(5, FAIL).await;
    advance(ms(1_500)).await;
    let start = Instant::now();
    let rejection = case.rejected().await;
    assert_eq!(Instant::now(), start);
    assert_eq!(rejection.retry_after(), Some(ms(2_500)));
    assert_eq!(rejection.to_string(), "breaker `db`: circuit open, retry after 2.5s");
    assert_eq!(case.served(), 5);
    assert_eq!(case.handle.rejected(), 1);
}

#[tokio::test(start_paused = true)]
async fn first_interval_is_at_least_half_a_second_by_default_and_at_most_one() {
    for seed in 0..100 {
        let case = Case::new(BreakerLayer::new().seed(seed));
        case.handle.open();
        let left = case.rejected().await.retry_after().unwrap();
        assert!((ms(500)..=SECOND).contains(&left), "{left:?}");
    }
}

/// CB-15: Polly, `CircuitStateControllerTests`.
#[tokio::test(start_paused = true)]
async fn interval_grows_with_each_opening_in_a_row_and_begins_anew_once_closed() {
    let open_for = Backoff::exponential(SECOND, 60 * SECOND).jitter(Jitter::None);
    let layer = BreakerLayer::new().open_for(open_for).probes(1, 1).ramp(SECOND, &[]);
    let case = Case::new(layer);
    case.many(5, FAIL).await;
    for seconds in [1, 2, 4, 8] {
        assert_eq!(case.rejected().await.retry_after(), Some(seconds * SECOND));
        advance(seconds * SECOND).await;
        case.many(1, FAIL).await;
    }
    advance(16 * SECOND).await;
    case.many(1, Reply::Answer).await;
    assert_eq!(case.state(), CircuitState::Closed);
    case.many(5, FAIL).await;
    assert_eq!(case.rejected().await.retry_after(), Some(SECOND));
}

/// CB-15.
#[tokio::test(start_paused = true)]
async fn interval_that_overflows_never_ends() {
    let case = Case::new(BreakerLayer::new().open_for(Backoff::constant(std::time::Duration::MAX)));
    case.many(5, FAIL).await;
    advance(1_000_000 * SECOND).await;
    case.rejected().await;
    assert_eq!(case.state(), CircuitState::Open);
}

/// CB-17: Polly, `CircuitStateController`.
#[tokio::test(start_paused = true)]
async fn outcome_of_a_call_from_before_the_opening_changes_nothing_and_reaches_its_caller() {
    let case = Case::new(BreakerLayer::new());
    let late = Reply::ErrorAfter(ms(10), Verdict::Transient);
    let mut calls = [Reply::AnswerAfter(ms(10)), late]
        .map(|reply| task::spawn(case.service.clone().oneshot(reply)));
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    case.many(5, FAIL).await;
    let before = case.rejected().await;
    let [answer, failure] = calls;
    answer.await.unwrap();
    failure.await.unwrap_err();
    let left = before.retry_after().unwrap().checked_sub(ms(10));
    assert_eq!(case.rejected().await.retry_after(), left);
    assert_eq!((case.state(), case.handle.opened()), (CircuitState::Open, 1));
}

/// Peers: a rejected call kept the permit that its handle had reserved.
#[tokio::test(start_paused = true)]
async fn rejected_call_keeps_no_permit_of_a_concurrency_limit() {
    let layer = BreakerLayer::new();
    layer.handle().open();
    let limited = ServiceBuilder::new()
        .concurrency_limit(1)
        .service(Probe::new(|n: u32| Ok::<_, BoxError>(n)));
    // The handle lives on, as a client's does.
    let mut handle = layer.layer(limited.clone());
    for _ in 0..3 {
        let error = handle.ready().await.unwrap().call(1).await.unwrap_err();
        assert_eq!(Rejection::find(&error).unwrap().reason(), Reason::CircuitOpen);
        let stranger = timeout(SECOND, limited.clone().oneshot(2)).await;
        assert_eq!(stranger.unwrap().unwrap(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn rejected_call_keeps_no_place_in_a_buffer() {
    let layer = BreakerLayer::new();
    layer.handle().open();
    let buffer = tower::buffer::Buffer::new(Probe::new(|n: u32| Ok::<_, BoxError>(n)), 1);
    let mut handle = layer.layer(buffer.clone());
    for _ in 0..3 {
        handle.ready().await.unwrap().call(1).await.unwrap_err();
        let stranger = timeout(SECOND, buffer.clone().oneshot(2)).await;
        assert_eq!(stranger.unwrap().unwrap(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn service_that_is_pending_stays_pending_behind_an_open_circuit() {
    let layer = BreakerLayer::new();
    layer.handle().open();
    let probe = Probe::new(|n: u32| Ok::<_, BoxError>(n)).permits(1);
    let permit = probe.reserve().unwrap();
    let mut service = tower_test::mock::Spawn::new(layer.layer(probe.clone()));
    assert_pending!(service.poll_ready::<u32>());
    drop(permit);
    assert!(service.is_woken());
    assert_ready_ok!(service.poll_ready::<u32>());
    service.call(1).await.unwrap_err();
    assert!(probe.at_rest());
}

/// CB-33. The rejection has no source: the event of the opening has the cause.
#[tokio::test(start_paused = true)]
async fn rejection_has_no_source_error() {
    let case = Case::new(BreakerLayer::new().failures(Ratio::percent(1), 1));
    case.many(1, FAIL).await;
    assert!(std::error::Error::source(&case.rejected().await).is_none());
}
