use std::time::Duration;

use crate::Nanos;
use crate::numbers::nanos::saturating_nanos;
use crate::sync::atomic::Ordering::{Relaxed, Release};

use super::host::CircuitHost;
use super::outcomes::Outcomes;
use super::phase::{Phase, Trip};
use super::rules::Counts;
use super::word::CircuitWord;
use super::{Circuit, CircuitChange, CircuitCore, CircuitReason, CircuitState};

impl Circuit {
    /// Changes the state as the phase demands.
    pub(super) fn follow(
        &self,
        core: &mut CircuitCore,
        now: Nanos,
        trip: Trip,
        host: &impl CircuitHost,
    ) -> CircuitChange {
        match trip {
            Trip::Probe => {
                core.outcomes = Outcomes::new(core.rules.slot());
                core.phase = core.phase.half_open();
                self.turn(core, now, CircuitState::HalfOpen, CircuitReason::Interval)
            }
            Trip::Recovered if core.rules.has_ramp() => {
                core.phase = core.phase.ramp(now);
                self.turn(core, now, CircuitState::Ramp, CircuitReason::Probe)
            }
            Trip::Recovered => {
                core.phase = Phase::default();
                self.turn(core, now, CircuitState::Closed, CircuitReason::Probe)
            }
            Trip::RampEnded => {
                core.phase = Phase::default();
                self.turn(core, now, CircuitState::Closed, CircuitReason::RampEnded)
            }
            Trip::Failed(reason, hint) => self.trip(core, now, reason, hint, host),
        }
    }

    /// Opens the circuit.
    pub(super) fn trip(
        &self,
        core: &mut CircuitCore,
        now: Nanos,
        reason: CircuitReason,
        hint: Option<Duration>,
        host: &impl CircuitHost,
    ) -> CircuitChange {
        let interval = core.phase.next_interval(&core.rules, host.draw());
        let interval = interval.max(hint.unwrap_or_default().min(MAX_HINT));
        // Before the word says open: who reads the word then finds this interval.
        self.open_until.store(now.get().saturating_add(saturating_nanos(interval)), Relaxed);
        core.opened += 1;
        let change = self.turn(core, now, CircuitState::Open, reason);
        CircuitChange { open_for: Some(interval), ..change }
    }

    /// Sets a state by hand, with nothing of the past.
    pub(super) fn reset(
        &self,
        core: &mut CircuitCore,
        now: Nanos,
        to: CircuitState,
        reason: CircuitReason,
    ) -> CircuitChange {
        let change = self.turn(core, now, to, reason);
        core.phase = Phase::default();
        core.outcomes = Outcomes::new(core.rules.slot());
        change
    }

    /// Writes the next state. A new generation drops the undated successes of the old one.
    fn turn(
        &self,
        core: &mut CircuitCore,
        now: Nanos,
        to: CircuitState,
        reason: CircuitReason,
    ) -> CircuitChange {
        let word = CircuitWord(self.word.load(Relaxed));
        let is_new = reason != CircuitReason::RampEnded;
        let next = CircuitWord::new(word.generation() + u64::from(is_new), to);
        // Release: pairs with the acquire in `admit`. Nobody else writes now: the lock is held, and only a
        // closed circuit counts successes without it, whose compare-and-swap then fails.
        self.word.store(next.0, Release);
        let Counts { calls, failures, slow } = core.outcomes.counts(now);
        let from = word.state();
        CircuitChange { from, to, reason, open_for: None, calls, failures, slow }
    }
}

/// With no lock held, because the host is foreign code.
pub(super) fn tell(host: &impl CircuitHost, change: Option<CircuitChange>) {
    if let Some(change) = change {
        host.changed(&change);
    }
}

/// A service can keep a circuit open for this long by its hint, and no longer.
const MAX_HINT: Duration = Duration::from_secs(60);
