//! A host of a circuit that panics.
#![cfg(not(buttress_loom))]

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
};

use buttress_control::{
    Backoff, Circuit, CircuitChange, CircuitHost, CircuitRules, CircuitState, Nanos,
};

/// Panics at the next change of state if told so.
#[derive(Default)]
struct Host {
    panics: Cell<bool>,
}

impl CircuitHost for Host {
    fn now(&self) -> Nanos {
        Nanos::new(0)
    }

    fn draw(&self) -> f64 {
        0.5
    }

    fn changed(&self, _: &CircuitChange) {
        assert!(!self.panics.take(), "on purpose");
    }
}

#[test]
fn host_that_panics_when_probing_begins_costs_no_place() {
    let (circuit, host) =
        (Circuit::new(CircuitRules::new().open_for(Backoff::none()).probes(1, 1)), Host::default());
    circuit.open(&host);
    host.panics.set(true);
    catch_unwind(AssertUnwindSafe(|| circuit.admit(false, &host))).unwrap_err();
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
    assert!(circuit.admit(false, &host).unwrap().unwrap().is_probe());
}
