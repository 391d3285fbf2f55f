mod backoff;
mod budget;
mod grpc_throttle;
mod token_bucket;

pub use self::backoff::{Backoff, Delays, Jitter};
pub use self::budget::RetryBudget;
pub use self::grpc_throttle::RetryThrottle;
pub use self::token_bucket::{RetryKind, TokenBucket};
