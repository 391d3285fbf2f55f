//! The layer through its public API, on paused time.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what helps a test may panic as the test may"
)]
#![expect(clippy::disallowed_methods, reason = "callers run in tasks of their own here")]

mod accept_ratio;
mod adaptive;
mod body;
mod concurrency;
mod expected_wait;
mod keyed;
mod live;
mod many_keys;
mod notes;
mod options;
mod panics;
mod queue;
mod reentry;
mod retry_after;
mod shedding;
mod spare;
mod support;
