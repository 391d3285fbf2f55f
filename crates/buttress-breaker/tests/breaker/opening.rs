//! When a circuit opens.

use buttress_breaker::{BreakerLayer, CircuitState, Ratio};
use tokio::time::advance;

use crate::support::{Case, FAIL, Reply, SECOND, ms};

/// CB-01: Polly, `AdvancedCircuitBehaviorTests`: calls, minimum, failures, ratio in percent.
#[tokio::test(start_paused = true)]
async fn circuit_opens_at_the_minimum_and_the_ratio() {
    let opens = async |calls: usize, minimum, failures: usize, ratio| {
        let layer = BreakerLayer::new().failures(Ratio::percent(ratio), minimum).consecutive(1000);
        let case = Case::new(layer);
        case.many(calls - failures, Reply::Answer).await;
        for _ in 0..failures {
            case.call(FAIL).await.unwrap_err();
        }
        case.state() == CircuitState::Open
    };
    assert!(!opens(10, 10, 0, 10).await);
    assert!(opens(10, 10, 1, 10).await);
    assert!(opens(10, 10, 2, 10).await);
    assert!(opens(11, 10, 2, 10).await);
    assert!(!opens(9, 10, 1, 10).await);
}

/// CB-03: resilience4j, `CircuitBreakerStateMachineTest`.
#[tokio::test(start_paused = true)]
async fn circuit_opens_at_the_ratio_and_not_only_above() {
    let layer = BreakerLayer::new().failures(Ratio::percent(50), 5).consecutive(1000);
    let case = Case::new(layer);
    for reply in [Reply::Answer, Reply::Answer, Reply::Answer, FAIL, FAIL] {
        case.many(1, reply).await;
        advance(SECOND).await;
    }
    assert_eq!(case.state(), CircuitState::Closed);
    case.many(1, FAIL).await;
    assert_eq!(case.state(), CircuitState::Open);
}

/// CB-05: Polly, `RollingHealthMetricsTests`.
#[tokio::test(start_paused = true)]
async fn window_forgets_an_outcome_as_old_as_itself() {
    let case = Case::new(BreakerLayer::new());
    for _ in 0..10 {
        case.many(1, Reply::Answer).await;
        advance(SECOND).await;
    }
    assert_eq!(case.counts(), [9, 0, 0]);
    advance(SECOND).await;
    assert_eq!(case.counts(), [8, 0, 0]);
    let case = Case::new(BreakerLayer::new());
    case.many(2, Reply::Answer).await;
    advance(10 * SECOND).await;
    assert_eq!(case.counts(), [0, 0, 0]);
}

/// CB-07: resilience4j, `SlidingTimeWindowMetricsTest`, without the mean duration.
#[tokio::test(start_paused = true)]
async fn window_counts_failures_and_slow_calls_apart() {
    let layer = BreakerLayer::new().window(5 * SECOND).slow(ms(500), Ratio::percent(100));
    let case = Case::new(layer);
    case.many(1, FAIL).await;
    advance(ms(100)).await;
    case.many(1, Reply::Answer).await;
    case.many(1, Reply::ErrorAfter(ms(700), buttress_core::Verdict::Transient)).await;
    assert_eq!(case.counts(), [3, 2, 1]);
    advance(ms(3_200)).await;
    assert_eq!(case.counts(), [3, 2, 1]);
    advance(5 * SECOND).await;
    assert_eq!(case.counts(), [0, 0, 0]);
}

/// CB-19: gobreaker, `gobreaker_test`.
#[tokio::test(start_paused = true)]
async fn run_of_failures_opens_the_circuit_and_a_success_ends_the_run() {
    let case = Case::new(BreakerLayer::new().consecutive(6));
    case.many(5, FAIL).await;
    case.many(1, Reply::Answer).await;
    case.many(1, FAIL).await;
    assert_eq!(case.state(), CircuitState::Closed);
    case.many(5, FAIL).await;
    assert_eq!(case.state(), CircuitState::Open);
}

/// CB-29: linkerd.
#[tokio::test(start_paused = true)]
async fn alternating_failures_reach_the_ratio_however_they_are_spread() {
    for gap in [ms(0), ms(400)] {
        let case = Case::new(BreakerLayer::new());
        for call in 0..20 {
            assert_eq!(case.state(), CircuitState::Closed, "call {call}, {gap:?}");
            case.many(1, if call % 2 == 0 { Reply::Answer } else { FAIL }).await;
            advance(gap).await;
        }
        assert_eq!(case.state(), CircuitState::Open, "{gap:?}");
    }
}

/// CB-29.
#[tokio::test(start_paused = true)]
async fn failures_decide_the_same_in_ten_milliseconds_and_over_the_window() {
    for gap in [ms(0), ms(8000) / 20] {
        let case = Case::new(BreakerLayer::new().consecutive(1000));
        for call in 0..20 {
            assert_eq!(case.state(), CircuitState::Closed, "call {call}, {gap:?}");
            case.many(1, FAIL).await;
            advance(gap).await;
        }
        assert_eq!(case.state(), CircuitState::Open, "{gap:?}");
    }
}

/// CB-27 asks for no trip below a rate. Here a minimum of calls in the window takes its place.
#[tokio::test(start_paused = true)]
async fn failures_below_the_minimum_do_not_open_the_circuit_by_their_ratio() {
    let layer = BreakerLayer::new()
        .window(5 * SECOND)
        .failures(Ratio::percent(50), 15)
        .consecutive(u32::MAX);
    let case = Case::new(layer);
    for _ in 0..100 {
        case.many(1, FAIL).await;
        advance(ms(500)).await;
    }
    assert_eq!(case.state(), CircuitState::Closed);
}

/// Peers: a "sliding window" that never slides needed 20,000 failures here.
#[tokio::test(start_paused = true)]
async fn twenty_failures_open_the_circuit_after_twenty_thousand_successes() {
    let case = Case::new(BreakerLayer::new());
    case.many(20_000, Reply::Answer).await;
    case.many(19, FAIL).await;
    assert_eq!(case.state(), CircuitState::Closed);
    case.many(1, FAIL).await;
    assert_eq!(case.state(), CircuitState::Open);
}
