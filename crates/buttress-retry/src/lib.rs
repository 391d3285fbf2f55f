//! A layer that repeats failed calls.

mod budget;
mod call;
mod future;
mod handle;
mod layer;
mod pace;
mod service;
mod settings;
mod stop;

pub use budget::Budget;
pub use buttress_control::{Backoff, Jitter, Ratio, RetryThrottle, TokenBucket};
pub use future::ResponseFuture;
pub use handle::RetryHandle;
pub use layer::RetryLayer;
pub use service::Retry;
pub use stop::Stop;
