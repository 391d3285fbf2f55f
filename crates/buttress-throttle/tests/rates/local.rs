//! Cells in this process.

use std::time::Duration;

use buttress_core::Plain;
use buttress_throttle::{Rate, RateLimit, Rates, ThrottleLayer};

pub(crate) use crate::support;

#[path = "calls.rs"]
mod calls;
#[path = "changes.rs"]
mod changes;
#[path = "immediate.rs"]
mod immediate;
#[path = "queue.rs"]
mod queue;
#[path = "shedding.rs"]
mod shedding;

pub(crate) type Layered = ThrottleLayer<Plain, RateLimit>;

pub(crate) fn of_rate(rate: Rate) -> Layered {
    ThrottleLayer::rate(rate)
}

pub(crate) fn of_rates(rates: Rates) -> Layered {
    ThrottleLayer::rates(rates)
}

/// How many milliseconds later than in this process a cell may come: a denied call asks again after
/// a pace.
pub(crate) const PACE: u64 = 0;

/// Lets the store decide the calls that wait for it.
pub(crate) async fn decided() {}

/// The cells that could be taken now.
pub(crate) fn assert_tokens(tokens: u32, expected: u32) {
    assert_eq!(tokens, expected);
}

/// Lets time pass, and the store decide.
pub(crate) async fn advance(time: Duration) {
    tokio::time::advance(time).await;
    decided().await;
}
