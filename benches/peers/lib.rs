//! Layers of other crates, measured like ours: `cargo bench -p buttress-peers --bench cost`, and
//! `--bench contention`.
//!
//! A package of its own, so that nothing else waits for its dependencies, is bound by their licences,
//! or needs as new a compiler.

mod governor;
mod seatbelt;
mod tower_resilience;

use std::time::Duration;

use buttress_benches::{Case, Crowd};

/// What each layer does for one call at a time.
pub fn cases() -> Vec<Case> {
    let mut cases = governor::cases();
    cases.extend(seatbelt::cases());
    cases.extend(tower_resilience::cases());
    cases
}

/// The layers that two threads can share.
pub fn crowds() -> Vec<Crowd> {
    governor::crowds().into_iter().chain(tower_resilience::crowds()).collect()
}

const ATTEMPTS: usize = 3;
const TIMEOUT: Duration = Duration::from_mins(2);
// No limit is ever met.
const IN_FLIGHT: usize = 1_000_000;
const PER_SECOND: usize = 1_000_000_000;
