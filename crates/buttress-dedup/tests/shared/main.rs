//! A cache that the replicas of a fleet share, over a store in this process, on paused time.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of a test may panic, as the test may"
)]
#![expect(clippy::disallowed_methods, reason = "callers run in tasks of their own here")]

mod credentials;
mod events;
mod flight;
mod invalidation;
mod leader;
mod outage;
mod races;
mod replicas;
mod rude;
mod seam;
#[path = "../cache/support.rs"]
#[expect(dead_code, reason = "the cache tests use more of it")]
mod source;
mod stale;
#[path = "../cache/suite.rs"]
mod suite;
mod values;
mod wire;
