use std::time::Duration;

use super::CircuitState;

/// A change of the state of a circuit, for events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CircuitChange {
    /// The state before.
    pub from: CircuitState,
    /// The state now.
    pub to: CircuitState,
    /// The cause.
    pub reason: CircuitReason,
    /// The interval, if the circuit opened.
    pub open_for: Option<Duration>,
    /// The calls in the window at the change.
    pub calls: u64,
    /// The failures among them.
    pub failures: u64,
    /// The slow calls among them.
    pub slow: u64,
}

/// Why a circuit changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CircuitReason {
    /// Too large a share of the calls failed.
    Failures,
    /// Too many calls in a row failed.
    Consecutive,
    /// Too large a share of the calls was slow.
    Slow,
    /// The interval has ended, so probes are admitted.
    Interval,
    /// The probes decided.
    Probe,
    /// Probes had no outcome within their patience.
    ProbeLapsed,
    /// Too many calls of the ramp failed.
    Ramp,
    /// The last stage of the ramp has ended.
    RampEnded,
    /// The state was set by hand.
    Hand,
}

impl CircuitReason {
    /// The name in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::Consecutive => "consecutive",
            Self::Slow => "slow",
            Self::Interval => "interval",
            Self::Probe => "probe",
            Self::ProbeLapsed => "probe_lapsed",
            Self::Ramp => "ramp",
            Self::RampEnded => "ramp_ended",
            Self::Hand => "hand",
        }
    }
}
