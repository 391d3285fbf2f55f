use std::time::Duration;

use crate::Nanos;

use super::CircuitChange;

/// The surroundings of a circuit. It asks only for what a decision needs.
pub trait CircuitHost {
    /// The time now. All calls on one circuit must use the same epoch.
    fn now(&self) -> Nanos;

    /// A uniform draw from `[0, 1)`, for the jitter of an interval and for the ramp.
    fn draw(&self) -> f64;

    /// Hears of a change of state, with no lock held.
    fn changed(&self, change: &CircuitChange) {
        let _ = change;
    }
}

/// How an admitted call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CircuitOutcome {
    /// The service answered.
    Success,
    /// The service failed.
    Failure,
    /// The service refused the call because of its load, and asked for this delay, if for any: a failure in
    /// the ratio that neither lengthens nor ends a run.
    Shed(Option<Duration>),
    /// The call says nothing about the service. A probe gives its place back.
    Neutral,
}

/// The rejection of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CircuitOpen {
    /// The time after which a call may pass. `None` if only a hand can change that.
    pub retry_after: Option<Duration>,
}

/// The numbers of the window of a circuit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CircuitCounts {
    /// The calls that were recorded.
    pub calls: u64,
    /// The failures among them.
    pub failures: u64,
    /// The slow calls among them.
    pub slow: u64,
}
