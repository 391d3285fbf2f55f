pub(crate) mod body_error;
pub(crate) mod directives;
mod head;
pub(crate) mod header_value;
mod protocol;
mod watched_body;

pub use self::head::{RequestHead, ResponseHead};
pub use self::protocol::Protocol;
