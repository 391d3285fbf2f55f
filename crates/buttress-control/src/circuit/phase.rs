use std::time::Duration;

use crate::numbers::nanos::saturating_nanos;
use crate::{Delays, Nanos};

use super::CircuitReason;
use super::probes::{ProbeVerdict, Probes};
use super::rules::{CircuitRules, Rule};

/// The way of a circuit from its opening until it has closed again.
#[derive(Debug, Default)]
pub(super) struct Phase {
    /// How often the circuit has opened in a row.
    delays: Delays,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    /// Closed, or open: no call is admitted by number or share.
    #[default]
    Whole,
    HalfOpen(Probes),
    Ramp {
        began: Nanos,
        /// The stage in which a call has passed last.
        served: Option<u64>,
    },
}

/// The next change of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trip {
    /// The interval has ended.
    Probe,
    /// Enough probes succeeded.
    Recovered,
    /// Too many calls failed. The service may have asked for a delay.
    Failed(CircuitReason, Option<Duration>),
    /// The ramp has ended.
    RampEnded,
}

impl Phase {
    /// The probes, after the interval.
    pub(super) fn half_open(&self) -> Self {
        Self { delays: self.delays, stage: Stage::HalfOpen(Probes::default()) }
    }

    /// The ramp, after the probes.
    pub(super) const fn ramp(&self, began: Nanos) -> Self {
        Self { delays: self.delays, stage: Stage::Ramp { began, served: None } }
    }

    /// The change that the time alone demands.
    pub(super) fn due(
        &mut self,
        rules: &CircuitRules,
        now: Nanos,
        is_interval_over: bool,
    ) -> Option<Trip> {
        match &mut self.stage {
            Stage::Whole => is_interval_over.then_some(Trip::Probe),
            Stage::HalfOpen(probes) => match probes.lapse(now, rules) {
                (ProbeVerdict::Failed, true) => {
                    Some(Trip::Failed(CircuitReason::ProbeLapsed, None))
                }
                // The rules have changed since the last outcome.
                (ProbeVerdict::Failed, false) => Some(Trip::Failed(CircuitReason::Probe, None)),
                (ProbeVerdict::Recovered, _) => Some(Trip::Recovered),
                (ProbeVerdict::Undecided, _) => None,
            },
            Stage::Ramp { began, .. } => {
                rules.share(stage(*began, now, rules)).is_none().then_some(Trip::RampEnded)
            }
        }
    }

    /// Whether no probe is in flight, and no stage of a ramp goes on.
    pub(super) fn is_over(&self, rules: &CircuitRules, now: Nanos) -> bool {
        match &self.stage {
            Stage::Whole => true,
            Stage::HalfOpen(probes) => probes.have_lapsed(now, rules),
            Stage::Ramp { began, .. } => rules.share(stage(*began, now, rules)).is_none(),
        }
    }

    /// The number of a probe, 0 for a call of the ramp, or the time after which to ask again.
    pub(super) fn admit(
        &mut self,
        rules: &CircuitRules,
        now: Nanos,
        draw: impl FnOnce() -> f64,
    ) -> Result<u32, Duration> {
        match &mut self.stage {
            Stage::Whole => Ok(0),
            Stage::HalfOpen(probes) => {
                let first_interval = rules.open_for.first();
                probes.take(now, rules).map_err(|left| left.min(first_interval))
            }
            Stage::Ramp { began, served } => {
                let stage = stage(*began, now, rules);
                let share = rules.share(stage).map_or(1.0, crate::Ratio::as_f64);
                if *served == Some(stage) && draw() >= share {
                    return Err(rules.stage);
                }
                *served = Some(stage);
                Ok(0)
            }
        }
    }

    /// Gives the place of a probe back. `false` if it has lapsed.
    pub(super) fn release(&mut self, number: u32) -> bool {
        match &mut self.stage {
            Stage::HalfOpen(probes) => probes.release(number),
            _ => false,
        }
    }

    /// Counts the outcome of a probe that was released.
    pub(super) fn count_probe(
        &mut self,
        rules: &CircuitRules,
        succeeded: bool,
        hint: Option<Duration>,
    ) -> Option<Trip> {
        let Stage::HalfOpen(probes) = &mut self.stage else { return None };
        match probes.count(succeeded, rules) {
            ProbeVerdict::Undecided => None,
            ProbeVerdict::Recovered => Some(Trip::Recovered),
            ProbeVerdict::Failed => Some(Trip::Failed(CircuitReason::Probe, hint)),
        }
    }

    /// The interval of the next opening, longer than that of the last.
    pub(super) fn next_interval(&mut self, rules: &CircuitRules, draw: f64) -> Duration {
        self.stage = Stage::Whole;
        rules.open_for.next(&mut self.delays, draw)
    }

    /// The reason of an opening by `rule`.
    pub(super) const fn reason(&self, rule: Rule) -> CircuitReason {
        match (&self.stage, rule) {
            (Stage::Ramp { .. }, _) => CircuitReason::Ramp,
            (_, Rule::Failures) => CircuitReason::Failures,
            (_, Rule::Consecutive) => CircuitReason::Consecutive,
            (_, Rule::Slow) => CircuitReason::Slow,
        }
    }
}

/// The number of the stage of a ramp, from 0.
fn stage(began: Nanos, now: Nanos, rules: &CircuitRules) -> u64 {
    let passed = now.get().saturating_sub(began.get());
    passed.checked_div(saturating_nanos(rules.stage)).unwrap_or(u64::MAX)
}
