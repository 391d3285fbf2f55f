//! The ramp after the probes.

use buttress_breaker::{Backoff, BreakerLayer, CircuitState, Ratio};
use tokio::time::advance;

use crate::support::{Case, FAIL, Reply, SECOND, ms};

async fn admitted(case: &Case, calls: usize) -> usize {
    let before = case.served();
    for _ in 0..calls {
        let _ = case.call(Reply::Answer).await;
    }
    case.served() - before
}

#[tokio::test(start_paused = true)]
async fn ramp_admits_its_shares_and_then_the_circuit_is_closed() {
    let case = Case::in_ramp(BreakerLayer::new().seed(7)).await;
    for share in [100, 250, 500] {
        let passed = admitted(&case, 1000).await;
        assert!(passed.abs_diff(share) < 50, "{passed} of 1000, and not {share}");
        advance(SECOND).await;
    }
    assert_eq!(case.state(), CircuitState::Ramp);
    assert_eq!(admitted(&case, 1000).await, 1000);
    assert_eq!(case.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn first_call_of_each_stage_passes_whatever_the_draw() {
    for seed in 0..20 {
        let case = Case::in_ramp(BreakerLayer::new().seed(seed)).await;
        for _ in 0..3 {
            case.many(1, Reply::Answer).await;
            advance(2 * SECOND).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_the_ramp_rejects_is_told_one_stage() {
    let case = Case::in_ramp(BreakerLayer::new().ramp(ms(700), &[Ratio::per_million(1)])).await;
    case.many(1, Reply::Answer).await;
    assert_eq!(case.rejected().await.retry_after(), Some(ms(700)));
}

#[tokio::test(start_paused = true)]
async fn ramp_opens_the_circuit_again_by_the_outcomes_since_the_first_probe() {
    let layer = BreakerLayer::new().ramp(SECOND, &[Ratio::percent(100)]);
    let case = Case::in_ramp(layer).await;
    case.many(4, FAIL).await;
    assert_eq!(case.state(), CircuitState::Ramp);
    assert_eq!(case.counts(), [7, 4, 0], "three probes and four calls");
    case.many(1, FAIL).await;
    assert_eq!((case.state(), case.handle.opened()), (CircuitState::Open, 2));
}

#[tokio::test(start_paused = true)]
async fn opening_in_the_ramp_raises_the_interval() {
    let open_for = Backoff::exponential(SECOND, 60 * SECOND).jitter(buttress_breaker::Jitter::None);
    let case =
        Case::new(BreakerLayer::new().open_for(open_for).ramp(SECOND, &[Ratio::percent(100)]));
    case.many(5, FAIL).await;
    advance(SECOND).await;
    case.many(3, Reply::Answer).await;
    case.many(5, FAIL).await;
    assert_eq!(case.rejected().await.retry_after(), Some(2 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn calls_of_the_ramp_stay_in_the_window_after_its_end() {
    let case = Case::in_ramp(BreakerLayer::new()).await;
    case.many(1, FAIL).await;
    advance(3 * SECOND).await;
    case.many(1, Reply::Answer).await;
    assert_eq!((case.state(), case.counts()), (CircuitState::Closed, [5, 1, 0]));
}

#[tokio::test(start_paused = true)]
async fn same_seed_admits_the_same_calls() {
    let log = async |seed| {
        let case = Case::in_ramp(BreakerLayer::new().seed(seed)).await;
        let mut log = Vec::new();
        for _ in 0..100 {
            log.push(case.call(Reply::Answer).await.is_ok());
        }
        log
    };
    assert_eq!(log(1).await, log(1).await);
    assert_ne!(log(1).await, log(2).await);
}
