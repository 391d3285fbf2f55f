//! Odd values have a documented meaning.

use std::time::Duration;

use buttress_breaker::{Backoff, BreakerLayer, CircuitState, Ratio};
use tokio::time::advance;
use tokio_test::{assert_pending, task};
use tower::ServiceExt;

use crate::support::{Case, FAIL, Reply, SECOND, ms};

#[tokio::test(start_paused = true)]
async fn minimum_of_zero_is_one() {
    let case = Case::new(BreakerLayer::new().failures(Ratio::percent(100), 0));
    case.many(1, FAIL).await;
    assert_eq!(case.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn ratio_of_zero_opens_at_any_failure_once_the_minimum_is_reached() {
    let case = Case::new(BreakerLayer::new().failures(Ratio::ZERO, 10));
    case.many(1, FAIL).await;
    case.many(8, Reply::Answer).await;
    assert_eq!(case.state(), CircuitState::Closed);
    case.many(1, Reply::Answer).await;
    assert_eq!(case.state(), CircuitState::Open, "a success reaches the minimum");
    let case = Case::new(BreakerLayer::new().failures(Ratio::ZERO, 10));
    case.many(100, Reply::Answer).await;
    assert_eq!(case.state(), CircuitState::Closed, "without a failure");
}

#[tokio::test(start_paused = true)]
async fn ratio_above_one_turns_its_rule_off() {
    let layer = BreakerLayer::new()
        .failures(Ratio::MAX, 1)
        .slow(Duration::ZERO, Ratio::MAX)
        .consecutive(u32::MAX);
    let case = Case::new(layer);
    case.many(1000, Reply::ErrorAfter(ms(1), buttress_core::Verdict::Transient)).await;
    assert_eq!(case.state(), CircuitState::Closed);
    let case = Case::new(BreakerLayer::new().failures(Ratio::MAX, 1));
    case.many(1000, Reply::Answer).await;
    case.many(4, FAIL).await;
    assert_eq!(case.state(), CircuitState::Closed);
    case.many(1, FAIL).await;
    assert_eq!(case.state(), CircuitState::Open, "the run still counts");
}

#[tokio::test(start_paused = true)]
async fn run_of_zero_is_a_run_of_one() {
    let case = Case::new(BreakerLayer::new().consecutive(0));
    case.many(1, Reply::Answer).await;
    case.many(1, FAIL).await;
    assert_eq!(case.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn zero_probes_are_one_and_needed_is_clamped_to_them() {
    for (probes, needed) in [(0, 0), (0, 9), (1, 9)] {
        let case = Case::after_interval(BreakerLayer::new().probes(probes, needed)).await;
        let mut probe = task::spawn(case.service.clone().oneshot(Reply::AnswerAfter(ms(1))));
        assert_pending!(probe.poll());
        case.rejected().await;
        probe.await.unwrap();
        assert_eq!(case.state(), CircuitState::Ramp);
    }
    let case = Case::after_interval(BreakerLayer::new().probes(5, 0)).await;
    case.many(4, FAIL).await;
    assert_eq!(case.state(), CircuitState::HalfOpen);
    case.many(1, Reply::Answer).await;
    assert_eq!(case.state(), CircuitState::Ramp, "one success is needed");
}

#[tokio::test(start_paused = true)]
async fn window_under_twenty_milliseconds_is_twenty() {
    let case = Case::new(BreakerLayer::new().window(Duration::ZERO));
    case.many(1, FAIL).await;
    advance(ms(19)).await;
    assert_eq!(case.counts(), [1, 1, 0]);
    advance(ms(1)).await;
    assert_eq!(case.counts(), [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn longest_window_and_durations_are_no_trouble() {
    let longest = Duration::MAX;
    let layer = BreakerLayer::new()
        .window(longest)
        .slow(longest, Ratio::ZERO)
        .open_for(Backoff::constant(longest))
        .ramp(longest, &[Ratio::percent(50)])
        .probe_patience(longest)
        .patience(longest);
    let case = Case::new(layer);
    case.many(4, FAIL).await;
    advance(1_000_000 * SECOND).await;
    case.many(1, FAIL).await;
    assert_eq!(case.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn empty_interval_makes_the_circuit_half_open_at_once() {
    for open_for in [Backoff::none(), Backoff::exponential(Duration::ZERO, Duration::ZERO)] {
        let case = Case::new(BreakerLayer::new().open_for(open_for));
        case.many(5, FAIL).await;
        assert_eq!(case.state(), CircuitState::Open);
        case.many(1, Reply::Answer).await;
        assert_eq!(case.state(), CircuitState::HalfOpen);
    }
}

#[tokio::test(start_paused = true)]
async fn share_of_zero_ends_the_ramp_there() {
    let shares = [Ratio::percent(100), Ratio::ZERO, Ratio::per_million(1)];
    let case = Case::in_ramp(BreakerLayer::new().ramp(SECOND, &shares)).await;
    advance(SECOND).await;
    case.many(1, Reply::Answer).await;
    assert_eq!(case.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn ramp_without_shares_or_time_is_no_ramp() {
    let no_time = [Ratio::percent(10)];
    for (stage, shares) in [(SECOND, &[][..]), (Duration::ZERO, &no_time)] {
        let case = Case::after_interval(BreakerLayer::new().ramp(stage, shares)).await;
        case.many(3, Reply::Answer).await;
        assert_eq!(case.state(), CircuitState::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn ramp_has_eight_stages_at_most() {
    let case = Case::in_ramp(BreakerLayer::new().ramp(SECOND, &[Ratio::percent(100); 20])).await;
    advance(7 * SECOND).await;
    case.many(1, Reply::Answer).await;
    assert_eq!(case.state(), CircuitState::Ramp);
    advance(SECOND).await;
    case.many(1, Reply::Answer).await;
    assert_eq!(case.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn patience_of_zero_makes_every_call_without_an_answer_a_failure() {
    let case = Case::new(BreakerLayer::new().patience(Duration::ZERO));
    let mut call = task::spawn(case.service.clone().oneshot(Reply::Never));
    assert_pending!(call.poll());
    drop(call);
    assert_eq!(case.counts(), [1, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn patience_of_zero_for_a_probe_is_a_millisecond() {
    let case =
        Case::after_interval(BreakerLayer::new().probes(1, 1).probe_patience(Duration::ZERO)).await;
    let mut probe = task::spawn(case.service.clone().oneshot(Reply::Never));
    assert_pending!(probe.poll());
    assert_eq!(case.rejected().await.retry_after(), Some(ms(1)));
    advance(ms(1)).await;
    case.rejected().await;
    assert_eq!(case.handle.opened(), 2);
}
