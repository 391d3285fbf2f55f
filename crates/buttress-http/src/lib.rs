//! The HTTP and gRPC binding of buttress.

mod failure;
mod head;
mod mode;

pub use head::{RequestHead, ResponseHead};
pub use mode::{Http, HttpExt};
