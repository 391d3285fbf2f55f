use std::time::Duration;

use crate::Nanos;
use crate::numbers::nanos::saturating_nanos;

use super::rules::CircuitRules;
use super::word::MAX_PROBE;

/// The calls that decide a half-open circuit.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// Those in flight, the oldest first.
    places: Vec<Probe>,
    latest: u32,
    successes: u32,
    failures: u32,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    number: u32,
    started: Nanos,
}

/// The verdict of the probes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeVerdict {
    Undecided,
    Recovered,
    Failed,
}

impl Probes {
    /// Takes a place, and returns its number. If there is none, returns the time until one may be free.
    pub(super) fn take(&mut self, now: Nanos, rules: &CircuitRules) -> Result<u32, Duration> {
        let in_flight = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        let decided = self.successes + self.failures;
        if decided.saturating_add(in_flight) >= rules.probes {
            return Err(self.time_to_lapse(now, rules));
        }
        self.latest = if self.latest >= MAX_PROBE { 1 } else { self.latest + 1 };
        self.places.push(Probe { number: self.latest, started: now });
        Ok(self.latest)
    }

    /// Gives the place of this number back. `false` if its probe has lapsed.
    pub(super) fn release(&mut self, number: u32) -> bool {
        let place = self.places.iter().position(|probe| probe.number == number);
        place.map(|place| self.places.remove(place)).is_some()
    }

    pub(super) fn count(&mut self, succeeded: bool, rules: &CircuitRules) -> ProbeVerdict {
        if succeeded {
            self.successes += 1;
        } else {
            self.failures += 1;
        }
        self.verdict(rules)
    }

    /// Counts the probes that have no outcome after their patience as failures. Returns whether there were
    /// any, too.
    pub(super) fn lapse(&mut self, now: Nanos, rules: &CircuitRules) -> (ProbeVerdict, bool) {
        let before = self.places.len();
        self.places.retain(|probe| left(probe, now, rules) > Duration::ZERO);
        let lapsed = u32::try_from(before - self.places.len()).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(lapsed);
        (self.verdict(rules), lapsed > 0)
    }

    /// Whether no probe in flight can decide any more.
    pub(super) fn have_lapsed(&self, now: Nanos, rules: &CircuitRules) -> bool {
        self.places.iter().all(|probe| left(probe, now, rules).is_zero())
    }

    /// As early as the result is certain.
    const fn verdict(&self, rules: &CircuitRules) -> ProbeVerdict {
        if self.successes >= rules.needed {
            ProbeVerdict::Recovered
        } else if self.failures > rules.probes - rules.needed {
            ProbeVerdict::Failed
        } else {
            ProbeVerdict::Undecided
        }
    }

    fn time_to_lapse(&self, now: Nanos, rules: &CircuitRules) -> Duration {
        self.places.first().map_or(Duration::ZERO, |oldest| left(oldest, now, rules))
    }
}

/// The time until `probe` lapses.
fn left(probe: &Probe, now: Nanos, rules: &CircuitRules) -> Duration {
    let lapses = probe.started.get().saturating_add(saturating_nanos(rules.probe_patience));
    Duration::from_nanos(lapses.saturating_sub(now.get()))
}
