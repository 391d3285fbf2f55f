//! The dates of successes that a circuit records in batches.
#![cfg(not(buttress_loom))]
#![expect(clippy::unwrap_used, reason = "a missing pass fails the test")]

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use buttress_control::{
    Circuit, CircuitChange, CircuitHost, CircuitOutcome, CircuitRules, CircuitState, Nanos,
};

use self::CircuitOutcome::{Failure, Success};

/// A circuit that is built at the epoch of its clock.
struct Case {
    circuit: Circuit,
    host: Host,
}

#[derive(Default)]
struct Host {
    now: Cell<Duration>,
    changes: RefCell<Vec<CircuitChange>>,
}

impl CircuitHost for Host {
    fn now(&self) -> Nanos {
        Nanos::from(self.now.get())
    }

    fn draw(&self) -> f64 {
        0.5
    }

    fn changed(&self, change: &CircuitChange) {
        self.changes.borrow_mut().push(*change);
    }
}

impl Case {
    fn new() -> Self {
        Self { circuit: Circuit::new(CircuitRules::new()), host: Host::default() }
    }

    fn wait(&self, time: Duration) {
        self.host.now.set(self.host.now.get() + time);
    }

    fn many(&self, calls: usize, outcome: CircuitOutcome) {
        for _ in 0..calls {
            let pass = self.circuit.admit(false, &self.host).unwrap().unwrap();
            self.circuit.settle(pass, outcome, false, &self.host);
        }
    }

    fn calls(&self) -> u64 {
        self.circuit.counts(self.host.now()).calls
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// Of the successes after the burst, fifteen wait for a date. They must not get today's.
#[test]
fn old_successes_do_not_outlive_the_window_after_a_burst_at_the_epoch() {
    let case = Case::new();
    case.many(16, Success);
    for _ in 0..15 {
        case.wait(MINUTE);
        case.many(1, Success);
    }
    case.wait(MINUTE);
    assert_eq!(case.calls(), 0);
    case.many(5, Failure);
    assert_eq!(case.circuit.state(), CircuitState::Open, "five failures of five calls");
}

#[test]
fn window_begins_empty_when_its_length_changes_while_successes_wait_for_a_date() {
    let case = Case::new();
    case.many(16 + 9, Success);
    assert_eq!(case.calls(), 25);
    case.many(9, Success);
    case.circuit.set_rules(CircuitRules::new().window(Duration::from_secs(20)));
    assert_eq!(case.calls(), 0);
}

/// The pace of the former window says nothing about the new one.
#[test]
fn successes_after_a_change_of_the_window_are_dated_one_by_one_while_they_are_few() {
    let case = Case::new();
    case.many(16, Success);
    case.circuit.set_rules(CircuitRules::new().window(Duration::from_secs(20)));
    for _ in 0..15 {
        case.wait(MINUTE);
        case.many(1, Success);
    }
    assert_eq!(case.calls(), 1);
}

#[test]
fn change_by_hand_counts_the_successes_that_wait_for_a_date() {
    let case = Case::new();
    case.many(16 + 9, Success);
    case.circuit.open(&case.host);
    let change = *case.host.changes.borrow().last().unwrap();
    assert_eq!((change.to, change.calls), (CircuitState::Open, 25));
    assert_eq!(case.calls(), 25);
}
