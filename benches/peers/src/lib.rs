//! Layers of other crates, measured like those of buttress: `cargo bench -p buttress-peers --bench cost`,
//! `--bench contention` and `--bench flight`.
//!
//! This is a separate package because of its dependencies: no other package compiles them, is bound by
//! their licences, or needs their newer compiler.

mod cache_aside;
mod circuit_breakers;
mod governor;
mod moka;
mod quick_cache;
mod seatbelt;
mod shared_future;
mod single_flight;
mod tower_resilience;
mod tower_resilience_dedup;

use std::time::Duration;

use buttress_benches::{Case, Coalescer, LimitContention, ResponseCache};

/// All cases of one call at a time.
pub fn cases() -> Vec<Case> {
    let mut cases = governor::cases();
    cases.extend(circuit_breakers::cases());
    cases.extend(seatbelt::cases());
    cases.extend(tower_resilience::cases());
    cases.extend(coalescers().into_iter().flat_map(|dedup| dedup.cases));
    cases.extend(response_caches().into_iter().map(|response_caches| response_caches.case));
    cases
}

/// The limits that two threads can share.
pub fn limit_contention() -> Vec<LimitContention> {
    governor::limit_contention().into_iter().chain(tower_resilience::limit_contention()).collect()
}

/// The implementations of request coalescing.
pub fn coalescers() -> Vec<Coalescer> {
    let mut coalescers =
        vec![shared_future::dedup(), tower_resilience_dedup::dedup(), quick_cache::dedup()];
    coalescers.extend(moka::coalescers());
    coalescers.extend(single_flight::coalescers());
    coalescers
}

/// The response caches, each with a TTL of 2 minutes where the cache has one.
pub fn response_caches() -> Vec<ResponseCache> {
    let mut response_caches = vec![tower_resilience_dedup::response_caches()];
    response_caches.extend(quick_cache::response_caches());
    response_caches.extend(moka::response_caches());
    response_caches
}

const ATTEMPTS: usize = 3;
const TIMEOUT: Duration = Duration::from_mins(2);
// No bench reaches a limit.
const IN_FLIGHT: usize = 1_000_000;
const PER_SECOND: usize = 1_000_000_000;
const ENTRIES: u64 = 1_000;
const TTL: Duration = Duration::from_mins(2);
