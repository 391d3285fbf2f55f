//! Throughput of layers that many tasks on two threads share.

mod dedup;
mod limits;
mod round;

pub use dedup::{DedupContention, print_dedup_contention};
pub use limits::{LimitContention, limit_contention, print_limit_contention};
