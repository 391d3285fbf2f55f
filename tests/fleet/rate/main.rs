//! A rate of the fleet on a real redis-server that dies, stands still, forgets and refuses.
//!
//! Most rates gain no cell while a test runs, so the counts do not depend on the machine.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod adversary;
mod callers;
mod kills;
mod names;
mod network;
mod refusals;
mod replica;
mod state;
#[path = "../../../crates/buttress-redis/tests/support/mod.rs"]
mod support;
