//! A breaker that rejects nothing.

use buttress_breaker::{Backoff, BreakerLayer, BreakerSnapshot, CircuitState};
use buttress_core::Attempt;
use buttress_testkit::counts;
use tokio::time::advance;
use tokio_test::{assert_ready_ok, task};
use tower::ServiceExt;

use crate::support::{Case, FAIL, Reply, SECOND};

#[tokio::test(start_paused = true)]
async fn observing_breaker_runs_the_circuit_and_rejects_nothing() {
    let case = Case::new(BreakerLayer::new().observe().open_for(Backoff::constant(SECOND)));
    case.many(5, FAIL).await;
    case.many(10, Reply::Answer).await;
    assert_eq!(case.served(), 15);
    let expected = counts!(BreakerSnapshot {
        state: Some(CircuitState::Open),
        counts: case.handle.counts(),
        rejected: 10,
        opened: 1,
    });
    assert_eq!(case.handle.snapshot(), expected);
    advance(SECOND).await;
    case.many(3, Reply::Answer).await;
    assert_eq!(case.state(), CircuitState::Ramp);
}

#[tokio::test(start_paused = true)]
async fn call_that_passes_an_open_circuit_is_not_recorded() {
    let case = Case::new(BreakerLayer::new().observe());
    case.handle.open();
    case.many(100, FAIL).await;
    assert_eq!((case.counts(), case.handle.opened()), ([0, 0, 0], 1));
}

#[tokio::test(start_paused = true)]
async fn observing_breaker_counts_spare_calls_and_lets_them_pass() {
    let case = Case::new(BreakerLayer::new().observe());
    case.handle.open();
    let mut call = task::spawn(case.service.clone().oneshot(Reply::Answer));
    Attempt::FIRST.spare().with(|| assert_ready_ok!(call.poll()));
    assert_eq!((case.handle.spare_refused(), case.handle.rejected()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn isolated_circuit_of_an_observing_breaker_lets_calls_pass() {
    let case = Case::new(BreakerLayer::new().observe());
    let _maintenance = case.handle.isolate();
    case.many(1, Reply::Answer).await;
    assert_eq!(case.handle.rejected(), 1);
}
