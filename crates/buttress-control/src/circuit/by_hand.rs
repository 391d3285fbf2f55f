use crate::Nanos;
use crate::sync::{MutexGuard, lock};

use super::host::CircuitHost;
use super::turn::tell;
use super::{Circuit, CircuitChange, CircuitCore, CircuitReason, CircuitState};

impl Circuit {
    /// Opens the circuit for one interval. An isolated circuit stays as it is.
    pub fn open(&self, host: &impl CircuitHost) {
        self.change(host, |circuit, core, now| {
            circuit.trip(core, now, CircuitReason::Hand, None, host)
        });
    }

    /// Closes the circuit, with an empty window and the first interval. An isolated circuit stays as it is.
    pub fn close(&self, host: &impl CircuitHost) {
        self.change(host, |circuit, core, now| {
            circuit.reset(core, now, CircuitState::Closed, CircuitReason::Hand)
        });
    }

    /// Admits all calls from now on and records none. An isolated circuit stays as it is.
    pub fn disable(&self, host: &impl CircuitHost) {
        self.change(host, |circuit, core, now| {
            circuit.reset(core, now, CircuitState::Disabled, CircuitReason::Hand)
        });
    }

    /// Keeps the circuit open until [`end_isolation`](Self::end_isolation) was called as often as this.
    pub fn isolate(&self, host: &impl CircuitHost) {
        self.change_always(host, |circuit, core, now| {
            core.isolations += 1;
            (core.isolations == 1)
                .then(|| circuit.reset(core, now, CircuitState::Isolated, CircuitReason::Hand))
        });
    }

    /// Takes one [isolation](Self::isolate) back. With the last one, the circuit closes.
    pub fn end_isolation(&self, host: &impl CircuitHost) {
        self.change_always(host, |circuit, core, now| {
            let is_last = core.isolations == 1;
            core.isolations = core.isolations.saturating_sub(1);
            is_last.then(|| circuit.reset(core, now, CircuitState::Closed, CircuitReason::Hand))
        });
    }

    fn change(
        &self,
        host: &impl CircuitHost,
        change: impl FnOnce(&Self, &mut CircuitCore, Nanos) -> CircuitChange,
    ) {
        self.change_always(host, |circuit, core, now| {
            (core.isolations == 0).then(|| change(circuit, core, now))
        });
    }

    fn change_always(
        &self,
        host: &impl CircuitHost,
        change: impl FnOnce(&Self, &mut MutexGuard<'_, CircuitCore>, Nanos) -> Option<CircuitChange>,
    ) {
        let mut core = lock(&self.core);
        let now = host.now();
        // The change reports them, and a new generation would drop them.
        self.date_successes(&mut core, now);
        let change = change(self, &mut core, now);
        drop(core);
        tell(host, change);
    }
}
