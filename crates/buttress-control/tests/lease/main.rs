//! Leases of a shared rate: the rules, the law of a replica, and whole fleets in simulated time.
#![cfg(not(buttress_loom))]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that fails has failed the test"
)]

mod denials;
mod fleet;
mod law;
mod model;
mod rules;
mod sim;
