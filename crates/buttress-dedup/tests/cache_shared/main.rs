//! The tests of the cache once more, on a store that replicas share.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of a test may panic, as the test may"
)]
#![expect(clippy::disallowed_methods, reason = "callers run in tasks of their own here")]

#[path = "../cache/degraded.rs"]
mod degraded;
#[path = "../cache/early_refresh.rs"]
mod early_refresh;
#[path = "../cache/errors.rs"]
mod errors;
#[path = "../cache/invalidating_requests.rs"]
mod invalidating_requests;
#[path = "../cache/invalidation.rs"]
mod invalidation;
#[path = "../cache/negative.rs"]
mod negative;
#[path = "../cache/sharing.rs"]
mod sharing;
#[path = "../cache/stale.rs"]
mod stale;
mod suite;
#[path = "../cache/support.rs"]
mod support;
#[path = "../cache/ttl.rs"]
mod ttl;
