//! The inner services, and the service that stands for a layer written by hand.

mod acquire;
mod echo;
mod source;
mod unanswered;
mod worker;

pub use acquire::{Acquire, AcquireFuture};
pub use echo::{Echo, EchoFuture, Inner};
pub use source::{Source, SourceError, SourceFuture};
pub(crate) use unanswered::{ONE_MORE, Unanswered};
pub use worker::{Work, Worker, WorkerFuture};
