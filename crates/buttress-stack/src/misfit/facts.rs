use std::time::Duration;

use buttress_control::{Rate, Ratio};

/// The numbers of a stack that are in no configuration.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The patience of the breaker.
    pub(crate) patience: Option<Duration>,
    /// The share of the calls that pays for hedges.
    pub(crate) hedge_ratio: Option<Ratio>,
    /// The share of the calls that pays for retries and hedges together.
    pub(crate) retry_ratio: Option<Ratio>,
    /// The fleet that keeps the rate.
    pub(crate) fleet: Option<FleetFacts>,
}

/// The numbers of a fleet that are in no configuration.
#[derive(Debug)]
pub struct FleetFacts {
    /// The time within which the store replies.
    pub(crate) time_limit: Duration,
    /// Whether the program asks the store for each call.
    pub(crate) is_exact: bool,
    /// The rates at present.
    pub(crate) rates: Vec<Rate>,
}
