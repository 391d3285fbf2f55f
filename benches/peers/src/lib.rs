//! Layers of other crates, measured like ours: `cargo bench -p buttress-peers --bench cost`,
//! `--bench contention` and `--bench flight`.
//!
//! A package of its own, so that nothing else waits for its dependencies, is bound by their licences,
//! or needs as new a compiler.

mod cache_aside;
mod governor;
mod moka;
mod quick_cache;
mod seatbelt;
mod shared_future;
mod single_flight;
mod tower_resilience;
mod tower_resilience_dedup;

use std::time::Duration;

use buttress_benches::{Case, Crowd, Dedup, Hits};

/// What each layer does for one call at a time.
pub fn cases() -> Vec<Case> {
    let mut cases = governor::cases();
    cases.extend(seatbelt::cases());
    cases.extend(tower_resilience::cases());
    cases.extend(dedups().into_iter().flat_map(|dedup| dedup.cases));
    cases.extend(hits().into_iter().map(|hits| hits.case));
    cases
}

/// The layers that two threads can share.
pub fn crowds() -> Vec<Crowd> {
    governor::crowds().into_iter().chain(tower_resilience::crowds()).collect()
}

/// What shares one call among all that ask for the same.
pub fn dedups() -> Vec<Dedup> {
    let mut dedups =
        vec![shared_future::dedup(), tower_resilience_dedup::dedup(), quick_cache::dedup()];
    dedups.extend(moka::dedups());
    dedups.extend(single_flight::dedups());
    dedups
}

/// What keeps an answer for two minutes.
pub fn hits() -> Vec<Hits> {
    let mut hits = vec![tower_resilience_dedup::hits()];
    hits.extend(quick_cache::hits());
    hits.extend(moka::hits());
    hits
}

const ATTEMPTS: usize = 3;
const TIMEOUT: Duration = Duration::from_mins(2);
// No limit is ever met.
const IN_FLIGHT: usize = 1_000_000;
const PER_SECOND: usize = 1_000_000_000;
const ENTRIES: u64 = 1_000;
const TTL: Duration = Duration::from_mins(2);
