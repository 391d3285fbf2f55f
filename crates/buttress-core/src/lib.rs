//! The words that every buttress layer shares.
//!
//! A layer of buttress answers three questions through traits, and a *mode* ([`Plain`], or `Http` of
//! `buttress-http`) implements them for the requests and responses at hand:
//!
//! | question | trait |
//! |---|---|
//! | how is a call answered in the service's stead? | [`Respond`], with a [`Guard`] that lives as long as the response |
//! | what does an outcome mean? | [`Classify`], giving a [`Verdict`] |
//! | how is a request sent again? | [`Replay`], and [`MarkGaveUp`] for the response that a retry gives up on |
//! | how do a deadline and a criticality cross the wire? | [`Propagate`] |
//! | which requests are the same, and how is a response shared and kept? | [`KeyOf`], [`Share`], [`Expire`] |
//!
//! [`Bind`] swaps the mode of a layer. [`Deadline`], [`Attempt`] and [`Criticality`] travel with the
//! task, so that whatever runs inside a call knows how long it has, which try it is and how much it
//! matters. [`Timers`] let the calls of a layer wait for their deadlines at little cost, and a [`Relay`]
//! lets any of many waiters drive the one piece of work they wait for. [`TickTimer`] bound a wait in a way
//! that is fair on a busy machine.
//!
//! ```
//! use buttress_core::{Deadline, Rejection};
//! use std::time::Duration;
//!
//! let limit = Deadline::after(Duration::from_secs(2));
//! Deadline::with(Some(limit), || {
//!     assert_eq!(Deadline::current(), Some(limit));
//! });
//! assert_eq!(Deadline::current(), None);
//!
//! let error = std::io::Error::from(Rejection::new(
//!     buttress_core::Reason::Overloaded,
//!     buttress_core::Origin::new("throttle"),
//! ));
//! assert!(Rejection::find(&error).is_some());
//! ```
//!
//! # Cancellation
//!
//! Nothing here spawns, blocks or runs when dropped. [`Deadline::with`], [`Attempt::with`] and
//! [`Criticality::with`] restore what was there before, also when the closure panics.
//!
//! # What the ambient values do not reach
//!
//! The ambient deadline, attempt and criticality are thread-locals that are set while a call, a future
//! or a body is being run. Somebody else's future that is polled inside (a `LocalSet`, a `FuturesUnordered`
//! shared with others, a nested runtime) sees them too. A future that runs elsewhere
//! (`tokio::spawn`, `spawn_blocking`, tower's `Buffer`, hyper's connection task) does not:
//! [`Deadline::scope`] carries the deadline and the criticality there.
//!
//! A deadline can end at the response head ([`Deadline::until_head`]). It is ambient apart from that of
//! the [whole](Deadline::whole) call, so neither a body nor a scope nor a shared call takes it along.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod ambient;
mod layer;
mod mode;
mod outcome;
mod relay;
mod timer;
mod wake;

pub use ambient::{
    Ambient, Attempt, Criticality, Deadline, InnerReport, Scope, SharedCount, Signals,
};
pub use layer::{Check, Enforcement, Extent, StateScope, give_back_ready, seeds, take_ready};
pub use mode::{
    Age, Bind, ByteBudget, Expire, Guard, KeyOf, Lifetime, MarkGaveUp, NoTimeLeft, Plain, Progress,
    Propagate, Quota, Reader, Replay, Respond, Share, Upload, UploadWait, WantedFreshness,
};
pub use outcome::{
    BoxError, By, ByMode, Classify, Judge, Origin, Reason, Rejection, RetryHint, Verdict,
};
pub use relay::{DriveEnd, Driven, Driver, Join, MemberId, Relay, WatchdogHost};
pub use timer::{TickTimer, Timer, Timers};
pub use wake::wake_all;

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
