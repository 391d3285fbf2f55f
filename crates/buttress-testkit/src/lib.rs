//! Test your own tower layers.
//!
//! ```
//! # use tower::timeout::TimeoutLayer;
//! # use std::time::Duration;
//! #[tokio::test(start_paused = true)]
//! async fn my_layer_keeps_the_contract() {
//!     buttress_testkit::contract(|| TimeoutLayer::new(Duration::from_secs(1))).await;
//! }
//! # fn main() {}
//! ```
//!
//! When to use it: for every layer that others put into their stacks. What most often goes wrong in
//! a layer compiles and answers: a clone is called that was never ready, a rejected call keeps the
//! permit it had reserved, a dropped call runs on. [`contract`] finds that, says which [`Clause`]
//! is broken, and how. When not: it says nothing of what the layer is for.
//!
//! | what | for |
//! |---|---|
//! | [`contract`] | any layer: readiness, cancellation, wakers, outcomes; on one handle and on clones |
//! | [`sweep`] | a whole stack: a call is dropped at every await, and nothing is left behind |
//! | [`Probe`] | a service that shows how it is used, with permits that can be stranded |
//! | [`Script`] | an upstream that answers, fails, waits and hangs by script, and notes what it got |
//! | [`Frames`] | a body that comes piece by piece, by script |
//! | [`Events`] | the events a layer tells, by name and as a log to compare |
//! | [`counts!`] | the expected snapshot of a handle, by the fields that are not zero |
//! | [`TestError`] | an error type for tests: failed, not found, rejected |
//! | [`Queueing`] | a service under load and a limit before it, in virtual time, to try a limit's law on |
//!
//! # A layer of a protocol
//!
//! The contract speaks in numbers ([`Numbers`]): requests are `u32`, errors `BoxError`. A layer that
//! wants requests of a protocol is given a [`Dialect`]:
//!
//! ```
//! use buttress_testkit::{Dialect, Heard, Understand, contract};
//! use std::convert::Infallible;
//!
//! struct Get(u32);
//! struct Page { status: u16, number: u32 }
//!
//! struct Pages;
//!
//! impl Dialect for Pages {
//!     type Request = Get;
//!     type Response = Page;
//!     type Error = Infallible;
//!
//!     fn request(&self, number: u32) -> Get { Get(number) }
//!     fn answer(Get(number): Get) -> Page { Page { status: 200, number } }
//!     fn fail(Get(number): Get) -> Result<Page, Infallible> { Ok(Page { status: 500, number }) }
//! }
//!
//! impl Understand<Page, Infallible> for Pages {
//!     fn understand(&self, outcome: Result<Page, Infallible>) -> Heard {
//!         match outcome {
//!             Ok(Page { status: 200, number }) => Heard::Answer(number),
//!             Ok(Page { status: 500, number }) => Heard::Failure(number),
//!             Ok(Page { status, .. }) => Heard::Other(format!("status {status}")),
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! contract(tower::layer::util::Identity::new).dialect(Pages).await;
//! # }
//! ```
//!
//! # Time
//!
//! Everything here runs on tokio's clock. [`contract`] needs it paused, the others want it.
//!
//! # Defaults
//!
//! | | |
//! |---|---|
//! | [`Probe`] | always ready, answers at once, a call without readiness panics |
//! | [`Script`] | always ready, steps take no time, the last step stays, without steps it hangs |
//! | [`Events`] | this thread's, of all targets and levels |
//! | [`contract`] | all clauses, in [`Numbers`] |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod contract;
mod counts;
mod events;
mod frames;
mod probe;
mod queueing;
mod script;
mod sweep;
mod test_error;

pub use contract::{
    Answer, Clause, Contract, Dialect, Failure, Heard, Numbers, Subject, Understand, contract,
};
pub use events::{Event, Events};
pub use frames::Frames;
pub use probe::{Probe, ProbeFuture, Reserved};
pub use queueing::{Answered, Queueing, QueueingReport, Times};
pub use script::{Received, Script, Scripted, ScriptedFuture};
pub use sweep::{Sweep, sweep};
pub use test_error::TestError;

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
