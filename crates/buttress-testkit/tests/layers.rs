//! The verdict of the contract on correct and on broken layers.

#![expect(clippy::unwrap_used, reason = "the locks of the mutants, outside test functions")]

mod mutants;

use std::time::Duration;

use buttress_core::BoxError;
use buttress_testkit::{Clause, contract};
use mutants::{Flaw, Mutant};
use tower::{
    layer::util::{Identity, Stack},
    limit::ConcurrencyLimitLayer,
    timeout::TimeoutLayer,
    util::MapErrLayer,
};

#[tokio::test(start_paused = true)]
async fn a_layer_that_does_nothing_keeps_the_contract() {
    contract(Identity::new).await;
}

#[tokio::test(start_paused = true)]
async fn layers_that_keep_the_contract_keep_it_together() {
    contract(|| Stack::new(Identity::new(), MapErrLayer::new(|error: BoxError| error))).await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_tower_keeps_the_contract() {
    contract(|| TimeoutLayer::new(Duration::from_secs(1))).await;
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_of_tower_keeps_the_contract() {
    contract(|| ConcurrencyLimitLayer::new(64)).await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_hides_the_backpressure_keeps_the_rest() {
    contract(|| Mutant::with(Flaw::HidesBackpressure)).without(Clause::Backpressure).await;
}

/// Each broken layer fails with the clause that it breaks.
macro_rules! fails {
    ($($test:ident: $flaw:ident => $clause:literal;)+) => {$(
        #[tokio::test(start_paused = true)]
        #[should_panic(expected = $clause)]
        async fn $test() {
            contract(|| Mutant::with(Flaw::$flaw)).await;
        }
    )+};
}

fails! {
    calling_a_clone_of_the_instance_that_was_ready_fails:
        CallsAClone => "the instance that was readied is the one called (on a long-lived handle): call 1 reached";
    cloning_the_readiness_with_the_service_fails: ClonesItsReadiness => "the instance that was readied is the one called";
    keeping_the_reservation_of_an_expired_call_fails: KeepsWhatHasExpired => "nothing reserved is stranded (on a long-lived handle): after a call whose deadline had passed";
    keeping_the_reservation_of_a_rejected_call_fails:
        KeepsWhatItRejects => "nothing reserved is stranded (on a long-lived handle): 44 of 48 calls ended at once";
    keeping_the_place_in_line_after_a_late_verdict_fails:
        KeepsItsPlaceWhenLate => "nothing reserved is stranded (on a long-lived handle): poll_ready was ready 1s late and the handle is idle";
    spinning_while_the_response_is_pending_fails:
        SpinsInTheResponse => "what is pending is not polled without need";
    spinning_while_the_service_is_not_ready_fails:
        SpinsInReadiness => "what is pending is not polled without need";
    swallowing_the_wake_of_the_response_fails:
        SwallowsTheWake => "whoever waits is woken";
    swallowing_the_wake_of_readiness_fails:
        SwallowsTheWakeOfReadiness => "whoever waits is woken";
    waking_the_first_waker_and_not_the_last_fails:
        KeepsTheFirstWaker => "whoever waits is woken (on a long-lived handle): the service answered, and the waker of the last poll";
    losing_the_turn_of_a_waiter_that_is_dropped_fails:
        LosesTheTurnOfADroppedWaiter => "whoever waits is woken (on a long-lived handle): six calls waited for each other";
    running_the_call_in_a_task_of_its_own_fails:
        Spawns => "dropping the response drops the call";
    keeping_the_call_after_the_response_was_dropped_fails:
        KeepsTheCallForLater => "dropping the response drops the call";
    calling_twice_fails:
        CallsTwice => "one call is one call";
    changing_a_response_fails:
        ChangesResponses => "responses are handed on as they are";
    changing_an_error_fails:
        ChangesErrors => "errors are handed on as they are (on a long-lived handle): the failure of request 1";
    changing_an_error_of_readiness_fails:
        ChangesErrorsOfReadiness => "errors are handed on as they are (on a long-lived handle): the error of the service's poll_ready";
    rejecting_by_an_error_of_readiness_fails:
        RejectsInReadiness => "a rejection is made in call, not as an error of poll_ready";
    reading_pending_as_full_fails:
        ReadsPendingAsFull => "Pending stays Pending and is not read as full";
    reading_pending_as_an_error_fails:
        ReadsPendingAsAnError => "a rejection is made in call, not as an error of poll_ready";
    hiding_the_backpressure_fails:
        HidesBackpressure => "Pending stays Pending and is not read as full (on a long-lived handle): while the service was not ready, poll_ready said it was";
    running_the_service_without_the_callers_deadline_fails:
        ForgetsTheDeadline => "the ambient deadline only shrinks, and is put back";
    returning_an_outcome_in_a_later_poll_without_its_signals_fails:
        HoldsTheOutcomeForAPoll => "signals come with their outcome, and with no other (on a long-lived handle): the service raised signals with Answer(1)";
    keeping_the_signals_of_an_outcome_fails:
        KeepsTheSignals => "signals come with their outcome, and with no other (on a long-lived handle): the service raised signals with Answer(1)";
    raising_the_signals_of_another_call_fails:
        RaisesTheSignalsOfAnotherCall => "signals come with their outcome, and with no other (on a long-lived handle): the service raised no signal with Answer(2)";
}
