//! Cached responses as bytes, for a store that replicas share.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod format;
mod law;
#[cfg(feature = "reqwest")]
mod of_reqwest;
mod refused;
mod responses;
