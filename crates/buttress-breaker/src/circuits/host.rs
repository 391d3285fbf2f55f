use buttress_control::{CircuitChange, CircuitHost, CircuitReason, CircuitState, Nanos};
use buttress_core::Verdict;
use tracing::field::debug;

use super::{HeldCircuit, SharedCircuit};
use crate::settings::Settings;

/// The clock, the draws and the events of a circuit.
pub(crate) struct Host<'a> {
    circuit: &'a SharedCircuit,
    settings: &'a Settings,
    /// The outcome that the circuit is told of, if a call has one.
    verdict: Option<Verdict>,
}

impl<'a> Host<'a> {
    #[inline]
    pub(crate) fn new(held: &'a impl HeldCircuit, verdict: Option<Verdict>) -> Self {
        Self { circuit: held.circuit(), settings: held.settings(), verdict }
    }
}

impl CircuitHost for Host<'_> {
    #[inline]
    fn now(&self) -> Nanos {
        self.circuit.now()
    }

    fn draw(&self) -> f64 {
        self.settings.random.draw()
    }

    #[cold]
    fn changed(&self, change: &CircuitChange) {
        let instance = self.settings.origin.name();
        let key = self.circuit.key();
        let (from, to) = (change.from.as_str(), change.to.as_str());
        let reason = change.reason.as_str();
        if change.to == CircuitState::Open {
            self.circuit.counters().note_opened();
            let CircuitChange { open_for, calls, failures, slow, .. } = *change;
            // A late outcome only showed that a probe had lapsed.
            let verdict = self.verdict.filter(|_| change.reason != CircuitReason::ProbeLapsed);
            let (open_for, verdict) = (open_for.map(debug), verdict.map(debug));
            tracing::warn!(name: "breaker.opened", target: "buttress", instance, key, from, reason, verdict, open_for, calls, failures, slow);
        } else {
            tracing::info!(name: "breaker.changed", target: "buttress", instance, key, from, to, reason);
        }
    }
}
