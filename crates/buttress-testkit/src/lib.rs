//! Test your own tower layers.

mod caller;
mod clause;
mod contract;
mod dialect;
mod dropping;
mod events;
mod ledger;
mod mode;
mod passing;
mod probe;
mod pulse;
mod readiness;
mod reserving;
mod script;
mod scripted;
mod subject;
mod sweep;
mod trial;
mod waking;

pub use clause::Clause;
pub use contract::{Contract, contract};
pub use dialect::{Answer, Dialect, Failure, Heard, Numbers, Understand};
pub use events::{Event, Events};
pub use probe::{Probe, ProbeFuture, Reserved};
pub use script::Script;
pub use scripted::{Received, Scripted, ScriptedFuture};
pub use subject::Subject;
pub use sweep::{Sweep, sweep};
