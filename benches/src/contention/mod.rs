//! Throughput of a layer that two threads share.

mod dedup;
mod limits;
mod round;

pub use dedup::{Gathering, print_gatherings};
pub use limits::{Crowd, crowds, print_contention};
