//! Test your own tower layers.

mod events;
mod ledger;
mod probe;
mod script;
mod scripted;

pub use events::{Event, Events};
pub use probe::{Probe, ProbeFuture, Reserved};
pub use script::Script;
pub use scripted::{Received, Scripted, ScriptedFuture};
