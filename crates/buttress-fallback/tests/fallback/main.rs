//! The promises of the crate docs, through the public API and under paused time.

#![expect(clippy::panic, reason = "helpers of tests fail like tests")]

mod alternative;
mod answers;
mod await_ready;
mod deadlines;
mod handle;
mod limit;
mod panics;
mod selection;
mod signals;
mod size;
mod support;
