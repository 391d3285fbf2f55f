//! The promises of the crate docs, through the public API and under paused time.

#![expect(clippy::disallowed_methods, reason = "tests spawn what a user would")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

#[path = "hedge/budgets.rs"]
mod budgets;
#[path = "hedge/delays.rs"]
mod delays;
#[path = "hedge/failures.rs"]
mod failures;
#[path = "hedge/learning.rs"]
mod learning;
#[path = "hedge/live.rs"]
mod live;
#[path = "hedge/model.rs"]
mod model;
#[path = "hedge/outcomes.rs"]
mod outcomes;
#[path = "hedge/polling.rs"]
mod polling;
#[path = "hedge/readiness.rs"]
mod readiness;
#[path = "hedge/sharing.rs"]
mod sharing;
#[path = "hedge/signals.rs"]
mod signals;
#[path = "hedge/size.rs"]
mod size;
#[path = "hedge/support.rs"]
mod support;
