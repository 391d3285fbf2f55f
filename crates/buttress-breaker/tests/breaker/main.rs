//! The layer through its public API, on paused time.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what helps a test may panic as the test may"
)]
#![expect(clippy::disallowed_methods, reason = "callers run in tasks of their own here")]

mod bad_input;
mod by_hand;
mod half_open;
mod keyed;
mod metrics;
mod observe;
mod open;
mod opening;
mod options;
mod outcomes;
mod ramp;
mod size;
mod support;
mod time_ran_out;
