//! What a layer keeps, through its public API, on paused time.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what helps a test may panic as the test may"
)]
#![expect(clippy::disallowed_methods, reason = "callers run in tasks of their own here")]

mod bounds;
mod changes;
mod common;
mod early;
mod errors;
mod extremes;
mod forgetting;
mod invalidation;
mod model;
mod negative;
mod sharing;
mod stale;
mod store;
mod ttl;
