//! The law of the circuit breaker.
#![cfg(not(buttress_loom))]
#![expect(clippy::unwrap_used, reason = "a missing pass fails the test")]

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use buttress_control::{
    Backoff, Circuit, CircuitChange, CircuitHost, CircuitOpen, CircuitOutcome, CircuitPass,
    CircuitReason, CircuitRules, CircuitState, Nanos, Random, Ratio,
};

use self::CircuitOutcome::{Failure, Neutral, Shed, Success};

/// A circuit with a clock that stands still, and all changes of its state.
struct Case {
    circuit: Circuit,
    host: Host,
}

struct Host {
    now: Cell<Duration>,
    random: Random,
    changes: RefCell<Vec<CircuitChange>>,
}

impl CircuitHost for Host {
    fn now(&self) -> Nanos {
        Nanos::from(self.now.get())
    }

    fn draw(&self) -> f64 {
        self.random.draw()
    }

    fn changed(&self, change: &CircuitChange) {
        self.changes.borrow_mut().push(*change);
    }
}

impl Case {
    /// The time begins at an hour: a circuit is not built at the epoch.
    fn new(rules: CircuitRules) -> Self {
        let host = Host {
            now: Cell::new(Duration::from_secs(3600)),
            random: Random::seeded(7),
            changes: RefCell::default(),
        };
        Self { circuit: Circuit::new(rules), host }
    }

    fn wait(&self, time: Duration) {
        self.host.now.set(self.host.now.get() + time);
    }

    fn ask(&self) -> Result<Option<CircuitPass>, CircuitOpen> {
        self.circuit.admit(false, &self.host)
    }

    fn pass(&self) -> CircuitPass {
        self.ask().unwrap().unwrap()
    }

    fn settle(&self, pass: CircuitPass, outcome: CircuitOutcome) {
        self.circuit.settle(pass, outcome, false, &self.host);
    }

    /// One call after the other, each admitted.
    fn calls(&self, outcomes: &[CircuitOutcome]) {
        for outcome in outcomes {
            self.settle(self.pass(), *outcome);
        }
    }

    fn many(&self, calls: usize, outcome: CircuitOutcome) {
        self.calls(&vec![outcome; calls]);
    }

    fn state(&self) -> CircuitState {
        self.circuit.state()
    }

    /// Calls, failures and slow calls.
    fn counts(&self) -> [u64; 3] {
        let counts = self.circuit.counts(self.host.now());
        [counts.calls, counts.failures, counts.slow]
    }

    fn reasons(&self) -> Vec<CircuitReason> {
        self.host.changes.borrow().iter().map(|change| change.reason).collect()
    }

    /// Opens the circuit by failures, and waits for the end of the interval.
    fn half_open(rules: CircuitRules) -> Self {
        let case = Self::new(rules.open_for(Backoff::constant(seconds(1))));
        case.many(5, Failure);
        assert_eq!(case.state(), CircuitState::Open);
        case.wait(seconds(1));
        case
    }
}

fn rules() -> CircuitRules {
    CircuitRules::new()
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn rules_show_the_length_of_the_window_that_holds() {
    let shows = |window| CircuitRules::new().window(window).window_length();
    assert_eq!(shows(Duration::from_secs(7)), Duration::from_secs(7));
    assert_eq!(shows(Duration::ZERO), Duration::from_millis(20));
}

/// Polly, `AdvancedCircuitBehaviorTests`: calls, minimum, failures, ratio in percent.
#[test]
fn circuit_opens_at_the_minimum_and_the_ratio() {
    let opens = |calls: usize, minimum, failures: usize, ratio| {
        let rules = rules().failures(Ratio::percent(ratio), minimum).consecutive(1000);
        let case = Case::new(rules);
        case.many(calls - failures, Success);
        for _ in 0..failures {
            if let Ok(Some(pass)) = case.ask() {
                case.settle(pass, Failure);
            }
        }
        case.state() == CircuitState::Open
    };
    assert!(!opens(10, 10, 0, 10));
    assert!(opens(10, 10, 1, 10));
    assert!(opens(10, 10, 2, 10));
    assert!(opens(11, 10, 2, 10));
    assert!(!opens(9, 10, 1, 10));
}

/// resilience4j, `CircuitBreakerStateMachineTest`.
#[test]
fn circuit_opens_at_the_ratio_and_not_only_above() {
    let case = Case::new(rules().failures(Ratio::percent(50), 5).consecutive(1000));
    for outcome in [Success, Success, Success, Failure, Failure] {
        case.calls(&[outcome]);
        case.wait(seconds(1));
    }
    assert_eq!(case.state(), CircuitState::Closed);
    case.calls(&[Failure]);
    assert_eq!(case.state(), CircuitState::Open);
    assert_eq!(case.reasons(), [CircuitReason::Failures]);
}

/// Polly, `RollingHealthMetricsTests`.
#[test]
fn window_forgets_an_outcome_as_old_as_itself() {
    let case = Case::new(rules());
    for _ in 0..10 {
        case.calls(&[Success]);
        case.wait(seconds(1));
    }
    assert_eq!(case.counts()[0], 9);
    case.wait(seconds(1));
    assert_eq!(case.counts()[0], 8);

    let case = Case::new(rules());
    case.many(2, Success);
    case.wait(seconds(10));
    assert_eq!(case.counts(), [0, 0, 0]);
}

/// resilience4j, `SlidingTimeWindowMetricsTest`.
#[test]
fn window_counts_failures_and_slow_calls_apart() {
    let rules = rules().window(seconds(5)).slow(millis(500), Ratio::percent(100));
    let case = Case::new(rules);
    case.calls(&[Failure]);
    case.wait(millis(100));
    case.calls(&[Success]);
    case.wait(millis(700));
    case.circuit.settle(case.pass(), Failure, true, &case.host);
    assert_eq!(case.counts(), [3, 2, 1]);
    case.wait(millis(3_200));
    assert_eq!(case.counts(), [3, 2, 1]);
    case.wait(seconds(5));
    assert_eq!(case.counts(), [0, 0, 0]);
}

#[test]
fn slow_calls_open_the_circuit_although_they_succeed() {
    let case = Case::new(rules().slow(millis(500), Ratio::percent(50)));
    assert_eq!(case.circuit.slow_limit(), Some(millis(500)));
    case.many(10, Success);
    for _ in 0..10 {
        assert_eq!(case.state(), CircuitState::Closed);
        case.circuit.settle(case.pass(), Success, true, &case.host);
    }
    assert_eq!(case.reasons(), [CircuitReason::Slow]);
}

/// resilience4j, `CircuitBreakerStateMachineTest`: four permits and six calls.
#[test]
fn half_open_circuit_admits_as_many_calls_as_it_has_probes() {
    let case = Case::half_open(rules().probes(4, 4));
    let probes: Vec<_> = (0..4).map(|_| case.pass()).collect();
    assert!(probes.iter().all(|pass| pass.is_probe()));
    assert!(case.ask().is_err());
    assert!(case.ask().is_err());
    case.settle(probes[0], Neutral);
    assert!(case.ask().is_ok());
    assert!(case.ask().is_err());
}

/// resilience4j, `CircuitBreakerStateMachineTest`: ignored outcomes return their permit.
#[test]
fn neutral_probe_gives_its_place_back_and_decides_nothing() {
    let case = Case::half_open(rules().probes(4, 4).ramp(seconds(1), &[]));
    case.many(4, Neutral);
    assert_eq!(case.state(), CircuitState::HalfOpen);
    assert_eq!(case.counts(), [0, 0, 0]);
    case.many(4, Success);
    assert_eq!(case.state(), CircuitState::Closed);
}

/// Polly, `CircuitStateControllerTests`: the break duration grows with each opening in a row.
#[test]
fn interval_grows_with_each_opening_in_a_row_and_begins_anew_after_the_circuit_has_closed() {
    let open_for =
        Backoff::exponential(seconds(1), seconds(60)).jitter(buttress_control::Jitter::None);
    let case = Case::new(rules().open_for(open_for).probes(1, 1).ramp(seconds(1), &[]));
    let intervals = || -> Vec<_> {
        case.host.changes.borrow().iter().filter_map(|change| change.open_for).collect()
    };
    case.many(5, Failure);
    for wait in [1, 2, 4] {
        case.wait(seconds(wait));
        case.calls(&[Failure]);
    }
    assert_eq!(intervals(), [1, 2, 4, 8].map(seconds));
    case.wait(seconds(8));
    case.calls(&[Success]);
    assert_eq!(case.state(), CircuitState::Closed);
    case.many(5, Failure);
    assert_eq!(intervals().last(), Some(&seconds(1)));
}

#[test]
fn interval_that_overflows_never_ends() {
    let forever = Backoff::constant(Duration::MAX);
    let case = Case::new(rules().open_for(forever));
    case.many(5, Failure);
    case.wait(seconds(1_000_000_000));
    assert!(case.ask().is_err());
    assert_eq!(case.state(), CircuitState::Open);
}

/// Polly, `CircuitStateController`.
#[test]
fn outcome_from_before_the_trip_changes_nothing() {
    let case = Case::new(rules());
    let (early, late) = (case.pass(), case.pass());
    case.many(5, Failure);
    let before = case.ask().unwrap_err();
    case.settle(early, Success);
    case.settle(late, Failure);
    assert_eq!(case.state(), CircuitState::Open);
    assert_eq!(case.ask().unwrap_err(), before);
    assert_eq!(case.reasons().len(), 1);
}

/// gobreaker, `gobreaker_test`: a success ends a run.
#[test]
fn run_of_failures_opens_the_circuit_below_the_minimum_and_a_success_ends_the_run() {
    let case = Case::new(rules().consecutive(6));
    case.many(5, Failure);
    case.calls(&[Success, Failure]);
    assert_eq!(case.state(), CircuitState::Closed);
    case.many(5, Failure);
    assert_eq!(case.state(), CircuitState::Open);
    assert_eq!(case.reasons(), [CircuitReason::Consecutive]);
}

/// linkerd: at volume, a run as long as the minimum opens the circuit before half of the window has failed.
#[test]
fn run_as_long_as_the_minimum_opens_a_busy_circuit() {
    let case = Case::new(rules());
    case.many(20_000, Success);
    case.many(19, Failure);
    assert_eq!(case.state(), CircuitState::Closed);
    case.many(1, Failure);
    assert_eq!(case.state(), CircuitState::Open);
}

/// linkerd: alternating failures never run to five, and reach the ratio.
#[test]
fn alternating_failures_reach_the_ratio_however_they_are_spread() {
    for gap in [Duration::ZERO, millis(400)] {
        let case = Case::new(rules());
        for call in 0..20 {
            assert_eq!(case.state(), CircuitState::Closed, "call {call}");
            case.calls(&[if call % 2 == 0 { Success } else { Failure }]);
            case.wait(gap);
        }
        assert_eq!(case.reasons(), [CircuitReason::Failures]);
    }
}

#[test]
fn shed_calls_are_failures_in_the_ratio_and_no_part_of_a_run() {
    let case = Case::new(rules());
    case.calls(&[Failure, Failure, Failure, Failure]);
    case.many(10, Shed(None));
    assert_eq!(case.state(), CircuitState::Closed);
    case.calls(&[Failure]);
    assert_eq!(case.reasons(), [CircuitReason::Consecutive], "nor do they end a run");

    let case = Case::new(rules());
    case.many(20, Shed(Some(seconds(30))));
    assert_eq!(case.reasons(), [CircuitReason::Failures]);
    assert_eq!(case.ask().unwrap_err().retry_after, Some(seconds(30)));
}

#[test]
fn hint_keeps_the_circuit_open_for_a_minute_at_most() {
    let case = Case::new(rules());
    case.many(20, Shed(Some(seconds(3600))));
    assert_eq!(case.ask().unwrap_err().retry_after, Some(seconds(60)));
}

#[test]
fn rejection_tells_the_time_left_of_the_interval() {
    let case = Case::new(rules().open_for(Backoff::constant(seconds(4))));
    case.many(5, Failure);
    case.wait(millis(1_500));
    assert_eq!(case.ask().unwrap_err().retry_after, Some(millis(2_500)));
}

/// resilience4j, issues 935 and 903: a probe that never ends must not wedge the circuit.
#[test]
fn probe_without_an_outcome_is_a_failure_after_its_patience_and_its_late_outcome_is_ignored() {
    let case = Case::half_open(rules().probes(1, 1).probe_patience(seconds(30)));
    let hung = case.pass();
    case.wait(seconds(10));
    assert_eq!(case.ask().unwrap_err().retry_after, Some(seconds(1)), "at most the first interval");
    case.wait(millis(19_900));
    assert_eq!(case.ask().unwrap_err().retry_after, Some(millis(100)));
    case.wait(millis(100));
    assert!(case.ask().is_err());
    assert_eq!(case.state(), CircuitState::Open);
    assert_eq!(case.reasons().last(), Some(&CircuitReason::ProbeLapsed));
    case.wait(seconds(1));
    let next = case.pass();
    case.settle(hung, Success);
    assert_eq!(case.state(), CircuitState::HalfOpen);
    case.settle(next, Success);
    assert_eq!(case.state(), CircuitState::Ramp);
}

/// Nobody asked the circuit between the patience and the outcome.
#[test]
fn late_outcome_of_a_probe_is_ignored_although_no_other_call_came() {
    for outcome in [Success, Neutral] {
        let case = Case::half_open(rules().probes(1, 1).probe_patience(seconds(30)));
        let hung = case.pass();
        case.wait(seconds(30));
        case.settle(hung, outcome);
        assert_eq!(case.state(), CircuitState::Open);
        assert_eq!(case.reasons().last(), Some(&CircuitReason::ProbeLapsed));
        assert_eq!(case.counts(), [0, 0, 0]);
    }
    let case = Case::half_open(rules().probes(3, 2).probe_patience(seconds(30)));
    let hung = case.pass();
    case.wait(seconds(20));
    let (second, third) = (case.pass(), case.pass());
    case.wait(seconds(10));
    case.settle(hung, Success);
    case.settle(second, Success);
    assert_eq!(case.state(), CircuitState::HalfOpen, "one of three has failed, one succeeded");
    case.settle(third, Success);
    assert_eq!(case.state(), CircuitState::Ramp);
}

#[test]
fn probes_decide_as_early_as_the_result_is_certain() {
    let case = Case::half_open(rules());
    let probes: Vec<_> = (0..5).map(|_| case.pass()).collect();
    for probe in &probes[..3] {
        assert_eq!(case.state(), CircuitState::HalfOpen);
        case.settle(*probe, Failure);
    }
    assert_eq!(case.state(), CircuitState::Open, "three of five are too many if three are needed");

    let case = Case::half_open(rules());
    case.calls(&[Failure, Success, Failure, Success]);
    assert_eq!(case.state(), CircuitState::HalfOpen);
    case.calls(&[Success]);
    assert_eq!(case.state(), CircuitState::Ramp);
}

#[test]
fn slow_probe_is_a_failure() {
    let case = Case::half_open(rules().probes(1, 1).slow(millis(500), Ratio::percent(50)));
    case.circuit.settle(case.pass(), Success, true, &case.host);
    assert_eq!(case.state(), CircuitState::Open);
}

#[test]
fn spare_call_passes_a_closed_circuit_only() {
    let case = Case::new(rules().open_for(Backoff::constant(seconds(1))));
    let spare = || case.circuit.admit(true, &case.host);
    assert!(spare().is_ok());
    case.many(5, Failure);
    assert!(spare().is_err());
    case.wait(seconds(1));
    assert!(spare().is_err());
    assert_eq!(case.state(), CircuitState::Open, "a spare call begins no probing");
    case.many(3, Success);
    assert_eq!(case.state(), CircuitState::Ramp);
    assert!(spare().is_err());
    case.circuit.disable(&case.host);
    assert_eq!(spare(), Ok(None));
}

#[test]
fn ramp_admits_its_shares_and_always_the_first_call_of_a_stage() {
    let case = Case::half_open(rules());
    case.many(3, Success);
    let admitted = |calls: usize| (0..calls).filter(|_| case.ask().is_ok()).count();
    for share in [100, 250, 500] {
        let passed = admitted(1000);
        assert!(passed.abs_diff(share) < 50, "{passed} of 1000, and not {share}");
        case.wait(seconds(1));
    }
    assert_eq!(case.state(), CircuitState::Ramp);
    assert_eq!(admitted(1000), 1000);
    assert_eq!(case.state(), CircuitState::Closed);
    assert_eq!(case.reasons().last(), Some(&CircuitReason::RampEnded));

    let case = Case::half_open(rules());
    case.many(3, Success);
    for _ in 0..10 {
        assert!(case.ask().is_ok(), "a caller with one call in two seconds is never rejected");
        case.wait(seconds(2));
    }
}

#[test]
fn call_that_the_ramp_rejects_comes_again_after_a_stage() {
    let case = Case::half_open(rules().ramp(millis(700), &[Ratio::per_million(1)]));
    case.many(3, Success);
    assert!(case.ask().is_ok());
    assert_eq!(case.ask().unwrap_err().retry_after, Some(millis(700)));
}

#[test]
fn ramp_opens_the_circuit_again_by_the_outcomes_since_the_first_probe() {
    let case = Case::half_open(rules().ramp(seconds(1), &[Ratio::percent(100)]));
    case.many(3, Success);
    case.many(5, Failure);
    assert_eq!(case.state(), CircuitState::Open);
    assert_eq!(case.reasons().last(), Some(&CircuitReason::Ramp));
}

#[test]
fn outcome_of_a_ramp_call_counts_after_the_ramp_has_ended() {
    let case = Case::half_open(rules());
    case.many(3, Success);
    let pass = case.pass();
    case.wait(seconds(3));
    assert!(case.ask().is_ok());
    assert_eq!(case.state(), CircuitState::Closed);
    case.settle(pass, Failure);
    assert_eq!(case.counts(), [4, 1, 0]);
}

/// resilience4j, `CircuitBreakerStateMachineTest`; cockatiel, `CircuitBreakerPolicy`.
#[test]
fn circuit_is_set_by_hand() {
    let case = Case::new(rules().open_for(Backoff::constant(seconds(1))));
    case.circuit.open(&case.host);
    assert!(case.ask().is_err());
    case.circuit.close(&case.host);
    assert!(case.ask().is_ok());
    case.circuit.disable(&case.host);
    assert_eq!(case.ask(), Ok(None), "a disabled circuit records nothing");
    case.circuit.isolate(&case.host);
    case.circuit.isolate(&case.host);
    case.wait(seconds(1000));
    assert_eq!(case.ask().unwrap_err().retry_after, None);
    case.circuit.close(&case.host);
    case.circuit.open(&case.host);
    case.circuit.disable(&case.host);
    assert_eq!(case.state(), CircuitState::Isolated);
    case.circuit.end_isolation(&case.host);
    assert_eq!(case.state(), CircuitState::Isolated);
    case.circuit.end_isolation(&case.host);
    assert_eq!(case.state(), CircuitState::Closed);
    case.circuit.end_isolation(&case.host);
    assert_eq!(case.state(), CircuitState::Closed);
}

#[test]
fn closing_by_hand_forgets_the_window() {
    let case = Case::new(rules());
    case.many(4, Failure);
    case.circuit.close(&case.host);
    assert_eq!(case.counts(), [0, 0, 0]);
    case.many(4, Failure);
    assert_eq!(case.state(), CircuitState::Closed);
}

#[test]
fn neutral_outcomes_open_nothing() {
    let case = Case::new(rules());
    case.many(1000, Neutral);
    assert_eq!(case.state(), CircuitState::Closed);
    assert_eq!(case.counts(), [0, 0, 0]);
}

#[test]
fn old_successes_do_not_outlive_the_window_beside_new_failures() {
    let case = Case::new(rules());
    case.many(1015, Success);
    case.wait(seconds(60));
    case.many(5, Failure);
    assert_eq!(case.state(), CircuitState::Open, "{:?}", case.counts());
}

#[test]
fn circuit_is_fresh_with_an_empty_window_or_after_the_longest_interval() {
    let case = Case::new(rules());
    let is_fresh = || case.circuit.is_fresh(case.host.now());
    assert!(is_fresh());
    case.calls(&[Success]);
    assert!(!is_fresh());
    case.wait(seconds(10));
    assert!(is_fresh());
    case.many(5, Failure);
    assert!(!is_fresh());
    case.wait(seconds(20));
    assert!(is_fresh());
}

#[test]
fn circuit_without_calls_while_it_recovers_is_fresh_after_the_longest_interval() {
    let ramp = rules().ramp(seconds(60), &[Ratio::percent(50)]);
    let case = Case::half_open(ramp);
    let is_fresh = || case.circuit.is_fresh(case.host.now());
    let probe = case.pass();
    case.wait(seconds(20));
    assert!(!is_fresh(), "a probe is in flight");
    case.settle(probe, Neutral);
    assert!(is_fresh(), "half-open");
    case.many(3, Success);
    assert!(!is_fresh(), "the window is not empty");
    case.wait(seconds(20));
    assert!(!is_fresh(), "the ramp goes on");
    case.wait(seconds(40));
    assert_eq!(case.state(), CircuitState::Ramp);
    assert!(is_fresh());
    let by_hand: [fn(&Case); 2] =
        [|case| case.circuit.disable(&case.host), |case| case.circuit.isolate(&case.host)];
    for set in by_hand {
        set(&case);
        case.wait(seconds(1000));
        assert!(!is_fresh(), "set by hand");
    }
}

/// No probe has lapsed.
#[test]
fn probes_that_fail_by_a_change_of_the_rules_are_the_reason_of_the_opening() {
    let case = Case::half_open(rules().probes(5, 3));
    case.many(2, Failure);
    case.circuit.set_rules(rules().probes(5, 4));
    assert!(case.ask().is_err());
    assert_eq!(case.state(), CircuitState::Open);
    assert_eq!(case.reasons().last(), Some(&CircuitReason::Probe));
}

#[test]
fn rules_change_while_the_circuit_runs() {
    let case = Case::new(rules());
    case.many(4, Failure);
    case.circuit.set_rules(rules().consecutive(10));
    case.many(5, Failure);
    assert_eq!(case.state(), CircuitState::Closed);
    case.many(1, Failure);
    assert_eq!(case.state(), CircuitState::Open);
    assert_eq!(case.circuit.opened(), 1);
}

#[test]
fn odd_rules_are_the_nearest_that_make_sense() {
    let all_zero = CircuitRules::new()
        .failures(Ratio::ZERO, 0)
        .consecutive(0)
        .window(Duration::ZERO)
        .open_for(Backoff::none())
        .probes(0, 9)
        .ramp(Duration::ZERO, &[Ratio::ZERO])
        .probe_patience(Duration::ZERO);
    let case = Case::new(all_zero);
    case.calls(&[Success]);
    assert_eq!(case.state(), CircuitState::Closed, "without a failure");
    case.calls(&[Failure]);
    assert_eq!(case.state(), CircuitState::Open);
    assert!(case.pass().is_probe(), "an empty interval is half-open at once");
    case.wait(millis(1));
    assert!(case.ask().is_err(), "the probe has lapsed");
    case.calls(&[Success]);
    assert_eq!(case.state(), CircuitState::Closed, "without a ramp");

    let off = rules().failures(Ratio::MAX, 20).slow(Duration::ZERO, Ratio::MAX);
    let case = Case::new(off.consecutive(u32::MAX));
    case.many(10_000, Failure);
    assert_eq!(case.state(), CircuitState::Closed, "no rule is on");
    assert_eq!(case.circuit.slow_limit(), None);
}

/// A quarter of the calls fail, for an hour at 200 calls a second.
#[test]
fn network_that_loses_a_quarter_of_the_calls_never_opens_the_circuit() {
    for seed in 1..=3 {
        let case = Case::new(rules());
        let random = Random::seeded(seed);
        for _ in 0..200 * 3600 {
            case.calls(&[if random.draw() < 0.25 { Failure } else { Success }]);
            case.wait(millis(5));
        }
        assert_eq!(case.circuit.opened(), 0, "seed {seed}");
    }
}

#[test]
fn dead_service_is_seen_after_twenty_calls_and_then_by_probes_only() {
    let case = Case::new(rules());
    case.many(10_000, Success);
    let mut sent = 0;
    for _ in 0..10_000 {
        if let Ok(Some(pass)) = case.ask() {
            sent += 1;
            case.settle(pass, Failure);
        }
        case.wait(millis(1));
    }
    let openings = case.circuit.opened();
    assert!(sent <= 20 + 5 * openings, "{sent} calls, {openings} openings");
    assert!(openings >= 2, "{openings}");
}

#[test]
fn numbers_show_the_rules_as_they_were_given() {
    let shares = [Ratio::percent(5), Ratio::percent(20)];
    let open_for = Backoff::constant(Duration::from_secs(5));
    let numbers = CircuitRules::new()
        .failures(Ratio::percent(10), 100)
        .consecutive(7)
        .slow(Duration::from_secs(2), Ratio::percent(80))
        .window(Duration::from_secs(30))
        .open_for(open_for)
        .probes(4, 2)
        .ramp(Duration::from_secs(3), &shares)
        .probe_patience(Duration::from_secs(9))
        .numbers();
    assert_eq!((numbers.failure_ratio, numbers.minimum), (Ratio::percent(10), 100));
    assert_eq!(numbers.consecutive, 7);
    assert_eq!(numbers.slow, Some((Duration::from_secs(2), Ratio::percent(80))));
    assert_eq!(numbers.window, Duration::from_secs(30));
    assert_eq!(numbers.open_for, open_for);
    assert_eq!((numbers.probes, numbers.needed), (4, 2));
    assert_eq!((numbers.stage, &*numbers.shares), (Duration::from_secs(3), &shares[..]));
    assert_eq!(numbers.probe_patience, Duration::from_secs(9));
    assert_eq!(CircuitRules::new().numbers().slow, None);
}
