//! The layer through its public API, on paused time.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what helps a test may panic as the test may"
)]

mod body;
mod deadlines;
mod keys;
mod latest;
mod live;
mod options;
mod overlapping;
mod panics;
mod readiness;
mod reentry;
mod serial;
mod support;
