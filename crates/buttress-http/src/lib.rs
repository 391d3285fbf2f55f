//! The HTTP and gRPC binding of buttress.

mod answer;
mod carry;
mod control_body;
mod failure;
mod grpc_timeout;
mod head;
mod mode;
mod protocol;
mod respond;

pub use control_body::ControlBody;
pub use grpc_timeout::{encode_grpc_timeout, parse_grpc_timeout};
pub use head::{RequestHead, ResponseHead};
pub use mode::{Http, HttpExt};
pub use protocol::Protocol;
