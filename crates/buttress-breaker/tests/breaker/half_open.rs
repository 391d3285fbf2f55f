//! A half-open circuit.

use std::sync::Arc;

use buttress_breaker::{Backoff, BreakerLayer, CircuitState, Ratio};
use buttress_core::{Attempt, Reason, Verdict};
use tokio::{sync::Barrier, task::JoinSet, time::advance};
use tokio_test::{assert_pending, task};
use tower::ServiceExt;

use crate::support::{Case, Error, FAIL, Reply, SECOND, ms};

type Call = task::Spawn<tower::util::Oneshot<crate::support::Service, Reply>>;

fn start(case: &Case, reply: Reply) -> Call {
    let mut call = task::spawn(case.service.clone().oneshot(reply));
    assert_pending!(call.poll());
    call
}

/// CB-11: resilience4j, `CircuitBreakerStateMachineTest`: four permits and six calls.
#[tokio::test(start_paused = true)]
async fn half_open_circuit_admits_as_many_calls_as_it_has_probes() {
    let case = Case::after_interval(BreakerLayer::new().probes(4, 4)).await;
    let mut probes: Vec<_> = (0..4).map(|_| start(&case, Reply::Never)).collect();
    case.rejected().await;
    case.rejected().await;
    assert_eq!(case.handle.rejected(), 2);
    drop(probes.pop());
    probes.push(start(&case, Reply::Never));
    case.rejected().await;
}

/// CB-13: resilience4j, `CircuitBreakerStateMachineTest`.
#[tokio::test(start_paused = true)]
async fn neutral_probes_give_their_places_back_and_decide_nothing() {
    let case = Case::after_interval(BreakerLayer::new().probes(4, 4).ramp(SECOND, &[])).await;
    let neutral = Verdict::rejected("pool", Reason::Overloaded, None);
    case.many(4, Reply::Error(neutral)).await;
    assert_eq!((case.state(), case.counts()), (CircuitState::HalfOpen, [0, 0, 0]));
    case.many(4, Reply::Answer).await;
    assert_eq!(case.state(), CircuitState::Closed);
}

/// CB-21: resilience4j, issues 935 and 903.
#[tokio::test(start_paused = true)]
async fn probe_that_hangs_is_a_failure_after_its_patience_and_its_late_outcome_is_ignored() {
    let case = Case::after_interval(BreakerLayer::new().probes(1, 1)).await;
    let mut hung = start(&case, Reply::AnswerAfter(31 * SECOND));
    advance(10 * SECOND).await;
    assert_eq!(case.rejected().await.retry_after(), Some(SECOND), "at most the first interval");
    advance(ms(19_900)).await;
    assert_eq!(case.rejected().await.retry_after(), Some(ms(100)));
    advance(ms(100)).await;
    case.rejected().await;
    assert_eq!((case.state(), case.handle.opened()), (CircuitState::Open, 2));
    advance(SECOND).await;
    let mut next = start(&case, Reply::AnswerAfter(ms(1)));
    tokio_test::assert_ready_ok!(hung.poll());
    assert_eq!(case.state(), CircuitState::HalfOpen);
    advance(ms(1)).await;
    tokio_test::assert_ready_ok!(next.poll());
    assert_eq!(case.state(), CircuitState::Ramp);
}

#[tokio::test(start_paused = true)]
async fn patience_of_a_probe_is_an_option_of_its_own() {
    let layer = BreakerLayer::new().probes(1, 1).probe_patience(SECOND).patience(60 * SECOND);
    let case = Case::after_interval(layer).await;
    let _hung = start(&case, Reply::Never);
    advance(SECOND).await;
    case.rejected().await;
    assert_eq!(case.handle.opened(), 2);
}

#[tokio::test(start_paused = true)]
async fn probes_decide_as_early_as_the_result_is_certain() {
    let case = Case::after_interval(BreakerLayer::new()).await;
    case.many(2, FAIL).await;
    assert_eq!(case.state(), CircuitState::HalfOpen);
    case.many(1, FAIL).await;
    assert_eq!(case.state(), CircuitState::Open, "three of five are too many if three are needed");
    let case = Case::after_interval(BreakerLayer::new()).await;
    for reply in [FAIL, Reply::Answer, FAIL, Reply::Answer] {
        case.many(1, reply).await;
        assert_eq!(case.state(), CircuitState::HalfOpen);
    }
    case.many(1, Reply::Answer).await;
    assert_eq!(case.state(), CircuitState::Ramp);
}

/// CB-24: resilience4j, issue 1432.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hundred_tasks_that_race_at_the_end_of_the_interval_get_exactly_the_probes() {
    for _ in 0..20 {
        let case = Case::new(BreakerLayer::new().open_for(Backoff::none()));
        case.handle.open();
        let barrier = Arc::new(Barrier::new(100));
        let mut tasks = JoinSet::new();
        for _ in 0..100 {
            let (service, barrier) = (case.service.clone(), Arc::clone(&barrier));
            tasks.spawn(async move {
                barrier.wait().await;
                let mut call = Box::pin(service.oneshot(Reply::Never));
                let ended = std::future::poll_fn(|cx| {
                    std::task::Poll::Ready(call.as_mut().poll(cx).is_ready())
                });
                // The probe stays in flight while the others ask.
                (ended.await, call)
            });
        }
        let calls = tasks.join_all().await;
        assert_eq!(calls.iter().filter(|(ended, _)| !ended).count(), 5);
        assert_eq!((case.served(), case.handle.rejected()), (5, 95));
    }
}

#[tokio::test(start_paused = true)]
async fn slow_probe_is_a_failure() {
    let layer = BreakerLayer::new().probes(1, 1).slow(ms(500), Ratio::percent(50));
    let case = Case::after_interval(layer).await;
    case.many(1, Reply::AnswerAfter(ms(501))).await;
    assert_eq!(case.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn spare_call_passes_a_closed_circuit_only_and_is_counted_apart() {
    let case = Case::new(BreakerLayer::new().open_for(Backoff::constant(SECOND)));
    let spare = || {
        let call = case.service.clone().oneshot(Reply::Answer);
        Attempt::current()
            .next()
            .spare()
            .with(|| tokio_test::assert_ready!(task::spawn(call).poll()).map_err(Error::rejection))
    };
    spare().unwrap();
    case.many(5, FAIL).await;
    for (state, refused) in
        [(CircuitState::Open, 1), (CircuitState::HalfOpen, 2), (CircuitState::Ramp, 3)]
    {
        match state {
            CircuitState::Open => {}
            CircuitState::HalfOpen => {
                advance(SECOND).await;
                case.many(1, Reply::Answer).await;
            }
            _ => case.many(2, Reply::Answer).await,
        }
        assert_eq!(case.state(), state);
        assert_eq!(spare().unwrap_err().reason(), Reason::CircuitOpen);
        assert_eq!((case.handle.spare_refused(), case.handle.rejected()), (refused, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn spare_call_begins_no_probing() {
    let case = Case::after_interval(BreakerLayer::new()).await;
    let call = case.service.clone().oneshot(Reply::Answer);
    let mut call = task::spawn(call);
    let outcome = Attempt::FIRST.spare().with(|| tokio_test::assert_ready!(call.poll()));
    outcome.unwrap_err();
    assert_eq!(case.state(), CircuitState::Open);
}

/// A lost place would reject all later calls, for as long as a probe may take.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn probes_that_threads_drop_and_finish_at_once_lose_no_place() {
    let layer = BreakerLayer::new().open_for(Backoff::none()).probes(2, 2).ramp(SECOND, &[]);
    let case = Case::new(layer);
    for round in 0..50 {
        case.handle.open();
        let mut tasks = JoinSet::new();
        for task in 0..16 {
            let service = case.service.clone();
            tasks.spawn(async move {
                for call in 0..10 {
                    let reply = if (task + call) % 20 == 19 { Reply::Answer } else { Reply::Never };
                    let mut call = Box::pin(service.clone().oneshot(reply));
                    let _ = std::future::poll_fn(|cx| {
                        std::task::Poll::Ready(call.as_mut().poll(cx).is_ready())
                    })
                    .await;
                }
            });
        }
        tasks.join_all().await;
        // The circuit is still half-open, or closed since.
        case.many(2, Reply::Answer).await;
        assert_eq!(case.state(), CircuitState::Closed, "round {round}");
    }
}
