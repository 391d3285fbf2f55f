//! Circuits that are set by hand, and rules that change while running.

use buttress_breaker::{Backoff, BreakerLayer, CircuitState};
use tokio::time::advance;

use crate::support::{Case, FAIL, Reply, SECOND, rules};

/// CB-25: resilience4j, `CircuitBreakerStateMachineTest`.
#[tokio::test(start_paused = true)]
async fn circuit_is_opened_and_closed_by_hand() {
    let case = Case::new(BreakerLayer::new().open_for(Backoff::constant(SECOND)));
    case.handle.open();
    assert_eq!(case.rejected().await.retry_after(), Some(SECOND));
    case.handle.close();
    case.many(1, Reply::Answer).await;
    case.handle.open();
    advance(SECOND).await;
    case.many(1, Reply::Answer).await;
    assert_eq!((case.state(), case.handle.opened()), (CircuitState::HalfOpen, 2));
}

/// CB-25.
#[tokio::test(start_paused = true)]
async fn closing_by_hand_forgets_the_window() {
    let case = Case::new(BreakerLayer::new());
    case.many(4, FAIL).await;
    case.handle.close();
    assert_eq!(case.counts(), [0, 0, 0]);
    case.many(4, FAIL).await;
    assert_eq!(case.state(), CircuitState::Closed);
}

/// CB-25.
#[tokio::test(start_paused = true)]
async fn disabled_circuit_admits_all_calls_and_records_none() {
    let case = Case::new(BreakerLayer::new());
    case.handle.disable();
    case.many(100, FAIL).await;
    assert_eq!((case.state(), case.counts()), (CircuitState::Disabled, [0, 0, 0]));
    case.handle.close();
    case.many(5, FAIL).await;
    assert_eq!(case.state(), CircuitState::Open);
}

/// CB-25: cockatiel, `CircuitBreakerPolicy`.
#[tokio::test(start_paused = true)]
async fn isolations_are_counted_and_outlast_every_interval() {
    let case = Case::new(BreakerLayer::new());
    let (one, two) = (case.handle.isolate(), case.handle.clone().isolate());
    advance(1_000_000 * SECOND).await;
    assert_eq!(case.rejected().await.retry_after(), None);
    for set in [
        |case: &Case| case.handle.open(),
        |case: &Case| case.handle.close(),
        |case: &Case| case.handle.disable(),
    ] {
        set(&case);
        assert_eq!(case.state(), CircuitState::Isolated);
    }
    drop(one);
    assert_eq!(case.state(), CircuitState::Isolated);
    drop(two);
    assert_eq!(case.state(), CircuitState::Closed);
    case.many(1, Reply::Answer).await;
}

#[tokio::test(start_paused = true)]
async fn outcome_of_a_call_from_before_a_change_by_hand_changes_nothing() {
    let case = Case::new(BreakerLayer::new().consecutive(1));
    let mut call = tokio_test::task::spawn(tower::ServiceExt::oneshot(
        case.service.clone(),
        Reply::ErrorAfter(SECOND, buttress_core::Verdict::Transient),
    ));
    tokio_test::assert_pending!(call.poll());
    case.handle.close();
    call.await.unwrap_err();
    assert_eq!((case.state(), case.counts()), (CircuitState::Closed, [0, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn rules_change_while_calls_run() {
    let case = Case::new(BreakerLayer::new());
    assert_eq!(case.handle.rules(), rules());
    case.many(4, FAIL).await;
    case.handle.set_rules(rules().consecutive(10));
    assert_eq!(case.handle.rules(), rules().consecutive(10));
    case.many(5, FAIL).await;
    assert_eq!(case.state(), CircuitState::Closed);
    case.many(1, FAIL).await;
    assert_eq!(case.state(), CircuitState::Open);
}

/// A call that began before the rule was there has no start time, and is not slow.
#[tokio::test(start_paused = true)]
async fn rule_of_slow_calls_can_be_set_while_calls_run() {
    let case = Case::new(BreakerLayer::new());
    let early = tower::ServiceExt::oneshot(case.service.clone(), Reply::AnswerAfter(2 * SECOND));
    let mut early = tokio_test::task::spawn(early);
    tokio_test::assert_pending!(early.poll());
    let slow = rules().slow(SECOND, buttress_breaker::Ratio::percent(50));
    case.handle.set_rules(slow);
    early.await.unwrap();
    case.many(1, Reply::AnswerAfter(2 * SECOND)).await;
    assert_eq!(case.counts(), [2, 0, 1]);
}
