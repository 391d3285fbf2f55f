//! The cache of a layer, through its public API, on paused time.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of a test may panic, as the test may"
)]
#![expect(clippy::disallowed_methods, reason = "callers run in tasks of their own here")]

mod bounds;
mod coordinated;
mod degraded;
mod early_refresh;
mod errors;
mod extremes;
mod forget_races;
mod invalidating_requests;
mod invalidation;
mod model;
mod negative;
mod one_process;
mod sharing;
mod stale;
mod store;
mod suite;
mod support;
mod ttl;
