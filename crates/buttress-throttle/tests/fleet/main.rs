//! Rates that the replicas of a fleet keep together, through a store in this process.
#![cfg(not(buttress_loom))]

mod away;
mod keyed;
mod leases;
mod options;
mod support;
mod waits;
