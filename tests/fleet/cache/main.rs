//! A cache that replicas share on a real redis-server: one call per key in the fleet.
//!
//! The service behind the caches responds when the test lets it, so nothing depends on the machine.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod flights;
mod outages;
mod replica;
#[path = "../../../crates/buttress-redis/tests/support/mod.rs"]
mod support;
