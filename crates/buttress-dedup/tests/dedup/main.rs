//! Calls in flight, through the public API, on paused time.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of a test may panic, as the test may"
)]
#![expect(clippy::disallowed_methods, reason = "callers run in tasks of their own here")]

mod announced;
mod changes;
mod deadlines;
mod errors;
mod flight;
mod fuse;
mod gave_up;
mod handle;
mod inner;
mod many;
mod observe;
mod panicking_words;
mod panics;
mod patience;
mod sharing;
mod signals;
mod spare;
mod support;
mod traps;
mod unpolled;
