//! The HTTP and gRPC binding of buttress.

mod answer;
mod carry;
mod classify;
mod control_body;
mod failure;
mod grpc_timeout;
mod head;
mod head_copy;
mod idempotent;
mod mode;
mod protocol;
mod replay;
mod replay_body;
mod respond;
mod retry_after;
mod tape;
mod tee;

pub use control_body::ControlBody;
pub use failure::never_processed;
pub use grpc_timeout::{encode_grpc_timeout, parse_grpc_timeout};
pub use head::{RequestHead, ResponseHead};
pub use idempotent::Idempotent;
pub use mode::{Http, HttpExt};
pub use protocol::Protocol;
pub use replay_body::ReplayBody;
pub use retry_after::{grpc_pushback, retry_after};
