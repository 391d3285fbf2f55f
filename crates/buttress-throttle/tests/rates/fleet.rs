//! Cells of a store, with a request for each call that finds none.

use std::time::Duration;

use buttress_core::Plain;
use buttress_testkit::FakeStore;
use buttress_throttle::{
    Fleet, FleetCells, Rate, RateLimit, Rates, ThrottleLayer, UnitCost, WithoutStore,
};

pub(crate) use crate::support;
use crate::support::ms;

#[path = "calls.rs"]
mod calls;
#[path = "changes.rs"]
mod changes;
#[path = "queue.rs"]
mod queue;
#[path = "shedding.rs"]
mod shedding;

pub(crate) type Layered = ThrottleLayer<Plain, RateLimit<UnitCost, FleetCells>>;

pub(crate) fn of_rate(rate: Rate) -> Layered {
    ThrottleLayer::rate(rate).fleet(fleet())
}

pub(crate) fn of_rates(rates: Rates) -> Layered {
    ThrottleLayer::rates(rates).fleet(fleet())
}

/// A lease below 20 ms is exact, and lets a denied call ask again after a millisecond. Without
/// the store no call passes, so the store decides each.
fn fleet() -> Fleet {
    let store = FakeStore::new();
    Fleet::new(store, 1).lease(ms(8)).without_store(WithoutStore::FailClosed)
}

/// How many milliseconds later than in this process a cell may come: a denied call asks again after
/// a pace.
pub(crate) const PACE: u64 = 2;

/// Lets the store decide the calls that wait for it.
pub(crate) async fn decided() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

/// Only the cells that this replica holds are known, and in exact mode there are none.
pub(crate) fn assert_tokens(tokens: u32, _: u32) {
    assert_eq!(tokens, 0);
}

/// Lets time pass, and the store decide.
pub(crate) async fn advance(time: Duration) {
    tokio::time::advance(time).await;
    decided().await;
}
