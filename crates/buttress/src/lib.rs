//! A control plane for async services: retries, deadlines and more, as tower layers.
//!
//! This crate re-exports the others, one feature each. See their docs for what each layer promises.

pub use buttress_core::{
    Attempt, BoxError, Check, Classify, Deadline, Hint, Origin, Plain, Reason, Rejection, Verdict,
};
#[cfg(feature = "deadline")]
pub use buttress_deadline::{DeadlineHandle, DeadlineLayer};
#[cfg(feature = "http")]
pub use buttress_http::{Http, HttpExt, Idempotent};
#[cfg(feature = "retry")]
pub use buttress_retry::{Backoff, Budget, Jitter, Ratio, RetryHandle, RetryLayer, Stop};

/// The traits a layer is bound by, for writing modes and layers of your own.
pub use buttress_core as core;
#[cfg(feature = "deadline")]
pub use buttress_deadline as deadline;
#[cfg(feature = "http")]
pub use buttress_http as http;
#[cfg(feature = "retry")]
pub use buttress_retry as retry;
