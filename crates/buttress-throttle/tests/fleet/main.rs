//! Rates that the replicas of a fleet keep together, through a store in this process.
#![cfg(not(buttress_loom))]
#![expect(clippy::unwrap_used, reason = "a helper that fails has failed the test")]

mod adversary;
mod away;
mod extremes;
mod faults;
mod keyed;
mod leases;
mod numbers;
mod options;
mod rates;
mod support;
mod waits;
