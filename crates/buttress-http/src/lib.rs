//! The HTTP and gRPC binding of buttress.

mod mode;

pub use mode::{Http, HttpExt};
