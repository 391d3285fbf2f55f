use std::{fmt, sync::Arc};

use buttress_control::{CircuitCounts, CircuitRules, CircuitState};

use super::{CircuitOf, Circuits, HeldCircuit, SharedCircuit, Totals, sealed};
use crate::settings::Settings;

/// A circuit for all calls.
// A single `Arc` for the circuit and its options, because each call holds a clone.
#[derive(Clone)]
pub struct OneCircuit(Arc<CircuitAndSettings>);

struct CircuitAndSettings {
    circuit: Arc<SharedCircuit>,
    settings: Arc<Settings>,
}

impl OneCircuit {
    pub(crate) fn new(circuit: Arc<SharedCircuit>, settings: Arc<Settings>) -> Self {
        Self(Arc::new(CircuitAndSettings { circuit, settings }))
    }
}

impl<Req> CircuitOf<Req> for OneCircuit {
    type Held = Self;

    #[inline]
    fn circuit(&self, _: &Req) -> Option<Self> {
        Some(self.clone())
    }
}

impl HeldCircuit for OneCircuit {
    #[inline]
    fn circuit(&self) -> &SharedCircuit {
        &self.0.circuit
    }

    #[inline]
    fn settings(&self) -> &Settings {
        &self.0.settings
    }
}

impl Circuits for OneCircuit {
    type View = Self;

    fn view(&self) -> Self {
        self.clone()
    }

    fn fresh(&self, rules: CircuitRules) -> Self {
        Self::new(Arc::new(SharedCircuit::new(rules)), Arc::clone(&self.0.settings))
    }

    fn settings(&self) -> &Arc<Settings> {
        &self.0.settings
    }

    fn with_settings(self, settings: Arc<Settings>) -> Self {
        Self::new(Arc::clone(&self.0.circuit), settings)
    }

    fn rules(&self) -> CircuitRules {
        self.0.circuit.law.rules()
    }

    fn set_rules(&self, rules: CircuitRules) {
        self.0.circuit.law.set_rules(rules);
    }

    fn state(&self) -> Option<CircuitState> {
        Some(self.0.circuit.law.state())
    }

    fn counts(&self) -> CircuitCounts {
        self.0.circuit.counts()
    }

    fn totals(&self) -> Totals {
        self.0.circuit.counters().totals()
    }
}

impl sealed::Sealed for OneCircuit {}

impl fmt::Debug for OneCircuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneCircuit").finish_non_exhaustive()
    }
}
