use std::{fmt, sync::Arc};

use buttress_control::{CircuitCounts, CircuitRules, CircuitState};
use buttress_core::{PerThread, ThreadCopy};

use super::{CircuitOf, Circuits, HeldCircuit, SharedCircuit, Totals, count_state, sealed};
use crate::settings::Settings;

/// A circuit for all calls.
#[derive(Clone)]
pub struct OneCircuit(Arc<OneShared>);

struct OneShared {
    circuit: Arc<SharedCircuit>,
    settings: Arc<Settings>,
    threads: PerThread<ThreadCircuit>,
}

/// The circuit and its options, as the calls of a thread hold them.
pub struct ThreadCircuit {
    circuit: Arc<SharedCircuit>,
    settings: Settings,
}

impl OneCircuit {
    pub(crate) fn new(circuit: Arc<SharedCircuit>, settings: Arc<Settings>) -> Self {
        Self(Arc::new(OneShared { circuit, settings, threads: PerThread::new() }))
    }
}

impl<Req> CircuitOf<Req> for OneCircuit {
    type Held = Arc<ThreadCopy<ThreadCircuit>>;

    #[inline]
    fn circuit(&self, _: &Req) -> Option<Self::Held> {
        let held = self.0.threads.get_or_make(|| ThreadCircuit {
            circuit: Arc::clone(&self.0.circuit),
            settings: Settings::clone(&self.0.settings),
        });
        Some(Arc::clone(held))
    }
}

impl HeldCircuit for Arc<ThreadCopy<ThreadCircuit>> {
    #[inline]
    fn circuit(&self) -> &SharedCircuit {
        &self.circuit
    }

    #[inline]
    fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// For handles.
impl HeldCircuit for OneCircuit {
    fn circuit(&self) -> &SharedCircuit {
        &self.0.circuit
    }

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

    fn states(&self) -> [u64; CircuitState::ALL.len()] {
        let mut states = Default::default();
        count_state(&mut states, self.0.circuit.law.state());
        states
    }

    fn key_count(&self) -> Option<usize> {
        None
    }

    fn counts(&self) -> CircuitCounts {
        self.0.circuit.counts()
    }

    fn totals(&self) -> Totals {
        self.0.circuit.counters().totals()
    }
}

impl sealed::Sealed for OneCircuit {}

impl sealed::Sealed for Arc<ThreadCopy<ThreadCircuit>> {}

impl fmt::Debug for OneCircuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneCircuit").finish_non_exhaustive()
    }
}

impl fmt::Debug for ThreadCircuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadCircuit").finish_non_exhaustive()
    }
}
