//! Shared responses: many callers read the whole of one body.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod abandoned;
mod behind;
mod bodies;
mod byte_budget;
mod callers;
mod failing;
mod head;
mod inside;
mod law;
mod length;
#[cfg(feature = "reqwest")]
mod of_reqwest;
#[cfg(feature = "hyper")]
mod over_a_connection;
mod overflow;
mod source;
mod stored;
mod streaming;
mod threads;
mod timed;
mod window;
