use std::time::Duration;

use crate::Nanos;
use crate::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use crate::sync::lock;

use super::host::{CircuitHost, CircuitOutcome};
use super::outcomes::{Recorded, RecordedKind};
use super::rules::Counts;
use super::turn::tell;
use super::word::{BATCH, CircuitWord, DATES_EACH, UNDATED_MASK};
use super::{Circuit, CircuitChange, CircuitCore, CircuitPass, CircuitState};

impl Circuit {
    /// Reports how a call ended. `is_slow` if it took longer than [`slow_limit`](Self::slow_limit).
    #[inline]
    pub fn settle(
        &self,
        pass: CircuitPass,
        outcome: CircuitOutcome,
        is_slow: bool,
        host: &impl CircuitHost,
    ) {
        if outcome == CircuitOutcome::Success && !is_slow && self.settle_success(pass) {
            return;
        }
        if outcome != CircuitOutcome::Neutral || pass.is_probe() {
            self.record(pass, outcome, is_slow, host);
        }
    }

    /// Reports that a call succeeded and was not slow, if this needs no clock.
    ///
    /// Returns whether it is reported. Otherwise [`settle`](Self::settle) must follow.
    #[inline]
    #[must_use]
    pub fn settle_success(&self, pass: CircuitPass) -> bool {
        let mut word = CircuitWord(self.word.load(Relaxed));
        while word.generation() == pass.generation() {
            let Some(next) = word.with_success() else { return false };
            // Release: pairs with the acquire in `date_successes`.
            match self.word.compare_exchange_weak(word.0, next.0, Release, Relaxed) {
                Ok(_) => return true,
                Err(seen) => word = CircuitWord(seen),
            }
        }
        // An outcome of an older generation changes nothing.
        true
    }

    #[cold]
    fn record(
        &self,
        pass: CircuitPass,
        outcome: CircuitOutcome,
        is_slow: bool,
        host: &impl CircuitHost,
    ) {
        let mut core = lock(&self.core);
        let word = CircuitWord(self.word.load(Relaxed));
        if word.generation() != pass.generation() {
            return;
        }
        let now = host.now();
        let change = match word.state() {
            CircuitState::Closed => {
                self.date_successes(&mut core, now);
                self.record_in_window(&mut core, now, outcome, is_slow, host)
            }
            CircuitState::Ramp => self.record_in_window(&mut core, now, outcome, is_slow, host),
            CircuitState::HalfOpen => {
                self.record_probe(&mut core, now, pass, (outcome, is_slow), host)
            }
            _ => None,
        };
        drop(core);
        tell(host, change);
    }

    fn record_in_window(
        &self,
        core: &mut CircuitCore,
        now: Nanos,
        outcome: CircuitOutcome,
        is_slow: bool,
        host: &impl CircuitHost,
    ) -> Option<CircuitChange> {
        let recorded = Recorded { kind: kind(outcome)?, is_slow };
        core.outcomes.add(now, recorded);
        let counts = core.outcomes.counts(now);
        let Some(rule) = core.rules.tripped(counts, core.outcomes.run()) else {
            self.choose_dating(core, counts);
            return None;
        };
        let reason = core.phase.reason(rule);
        Some(self.trip(core, now, reason, hint(outcome), host))
    }

    fn record_probe(
        &self,
        core: &mut CircuitCore,
        now: Nanos,
        pass: CircuitPass,
        (outcome, is_slow): (CircuitOutcome, bool),
        host: &impl CircuitHost,
    ) -> Option<CircuitChange> {
        // First, because the outcome of a probe that has lapsed must not count.
        if let Some(trip) = core.phase.due(&core.rules, now, false) {
            return Some(self.follow(core, now, trip, host));
        }
        let number = pass.probe()?;
        if !core.phase.release(number) {
            return None;
        }
        let kind = kind(outcome)?;
        core.outcomes.add(now, Recorded { kind, is_slow });
        let succeeded = kind == RecordedKind::Success && !is_slow;
        let trip = core.phase.count_probe(&core.rules, succeeded, hint(outcome))?;
        Some(self.follow(core, now, trip, host))
    }

    /// Records the successes that were counted without the lock.
    pub(super) fn date_successes(&self, core: &mut CircuitCore, now: Nanos) {
        // Acquire: pairs with the release in `settle`.
        let before = CircuitWord(self.word.fetch_and(!UNDATED_MASK, AcqRel));
        if before.undated() == 0 {
            return;
        }
        if core.outcomes.is_sparse(now) {
            self.word.fetch_or(DATES_EACH, Relaxed);
        }
        core.outcomes.add_undated(now, before.undated());
    }

    /// Drops the successes that no slot holds yet. The next are dated one by one, because a window that has
    /// begun anew has no date that they could follow.
    pub(super) fn forget_undated(&self) {
        // First, so that no success is counted without a date any more.
        self.word.fetch_or(DATES_EACH, Relaxed);
        self.word.fetch_and(!UNDATED_MASK, AcqRel);
    }

    /// Successes are dated one by one while they are few, or while they decide how many calls the minimum
    /// lacks beside a failure.
    fn choose_dating(&self, core: &CircuitCore, counts: Counts) {
        let is_near = counts.failures > 0 && counts.calls < u64::from(core.rules.minimum);
        if is_near {
            self.word.fetch_or(DATES_EACH, Relaxed);
        } else if core.outcomes.calls_in_slot() >= BATCH {
            self.word.fetch_and(!DATES_EACH, Relaxed);
        }
    }
}

/// How the window keeps an outcome, or `None` for a neutral one.
const fn kind(outcome: CircuitOutcome) -> Option<RecordedKind> {
    match outcome {
        CircuitOutcome::Success => Some(RecordedKind::Success),
        CircuitOutcome::Failure => Some(RecordedKind::Failure),
        CircuitOutcome::Shed(_) => Some(RecordedKind::Shed),
        CircuitOutcome::Neutral => None,
    }
}

const fn hint(outcome: CircuitOutcome) -> Option<Duration> {
    match outcome {
        CircuitOutcome::Shed(hint) => hint,
        _ => None,
    }
}
