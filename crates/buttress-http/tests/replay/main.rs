//! A request is sent again whole, or not at all.

mod body;
mod head;
mod law;
#[cfg(feature = "reqwest")]
mod of_reqwest;
#[cfg(feature = "hyper")]
mod over_a_connection;
mod stream;
