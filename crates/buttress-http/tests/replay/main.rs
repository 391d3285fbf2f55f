//! Requests that are sent again complete, or not at all.

mod body;
mod head;
mod law;
#[cfg(feature = "reqwest")]
mod of_reqwest;
#[cfg(feature = "hyper")]
mod over_a_connection;
mod stream;
