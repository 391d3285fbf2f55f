//! Throughput of layers that many tasks on two threads share.

mod dedup;
mod limits;
mod pair;
mod round;
mod stacks;

pub use dedup::{DedupContention, print_dedup_contention};
pub use limits::{LimitContention, limit_contention, print_limit_contention};
pub use stacks::{StackContention, print_stack_contention, stack_contention};
