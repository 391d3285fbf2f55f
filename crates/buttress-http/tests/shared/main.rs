//! Many callers read one body, each of them all of it.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod abandoned;
mod allowance;
mod behind;
mod bodies;
mod caller;
mod failing;
mod feed;
mod flow;
mod head;
mod inside;
mod kept;
mod law;
mod length;
#[cfg(feature = "reqwest")]
mod of_reqwest;
mod over;
#[cfg(feature = "hyper")]
mod over_a_connection;
mod threads;
mod timed;
mod window;
