//! Building blocks for tower middleware: ambient deadlines, rejections, verdicts, shared work and
//! timers.
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
//! When to use this crate: to write a layer that works with the layers of buttress, or a mode for
//! another protocol. When not: to use the layers. The crate `buttress` re-exports all that their
//! users need.
//!
//! A layer of buttress asks its *mode* through traits. [`Plain`] implements them for any request
//! and response, and `Http` of `buttress-http` for HTTP and gRPC:
//!
//! | question | trait |
//! |---|---|
//! | How does the layer answer in place of the service? | [`Respond`], with a [`Guard`] that lives as long as the response |
//! | What does an outcome mean? | [`Classify`], which returns a [`Verdict`]; a layer stores it as a [`Judge`] |
//! | How is a request sent again? | [`Replay`], and [`MarkGaveUp`] for the response that a retry gives up on |
//! | How do a deadline and a criticality cross the wire? | [`Propagate`] |
//! | How does another response stand in for the service's? | [`Blend`], which marks it as [`Degraded`] |
//! | Which requests are the same, and how is a response shared and cached? | [`KeyOf`], [`FixedKey`], [`Share`], [`Expire`] |
//! | How do a key and a response look in a store that processes share? | [`StoreKey`], [`Codec`]; the feature `json` has a codec for types of serde |
//!
//! [`Bind`] replaces the mode of a layer. [`Deadline`], [`Attempt`] and [`Criticality`] are
//! ambient: they travel with the task. So the layers and services inside a call can read the time
//! left, the number of the attempt and the importance of the call.
//!
//! Mechanisms for authors of layers:
//!
//! - [`take_ready`] and [`give_back_ready`] move the instance that was polled ready.
//! - [`seeds`] captures what a mode and a judge need of a request.
//! - [`Signals`] carries facts beside an outcome, and [`SharedCount`] lets nested layers count a
//!   call once.
//! - [`Relay`] lets any of many waiters drive the work that all wait for.
//! - [`Timers`] serves the deadlines of all calls of a layer with few timers of the runtime.
//! - [`PerThread`] keeps a copy of a value for each thread, so that threads do not wait for each
//!   other's cache lines. [`SharedSettings`] keeps the settings of a layer so.
//! - [`Measure`] passes the numbers of a handle to a metrics system.
//! - [`TickTimer`] limits a wait in a way that is fair on a busy machine.
//! - [`WallClock`] is the date for headers that name a date. A simulation can set the clock.
//!
//! # Cancellation
//!
//! No item here spawns a task, blocks, or does work after being dropped. [`Deadline::with`],
//! [`Attempt::with`] and [`Criticality::with`] restore the former ambient value, also if the
//! closure panics.
//!
//! # What the ambient values do not reach
//!
//! The ambient deadline, attempt and criticality are thread-locals that are set while a call, a
//! future or a body runs. Another call's future that is polled inside sees them too: in a
//! `LocalSet`, a `FuturesUnordered` shared between calls, or a nested runtime. A future that runs
//! elsewhere does not see them: in `tokio::spawn`, `spawn_blocking`, tower's `Buffer` or hyper's
//! connection task. [`Deadline::scope`] carries the deadline and the criticality there.
//!
//! A deadline can end at the response head ([`Deadline::until_head`]), apart from the
//! deadline of the [whole](Deadline::whole) call. So it reaches neither a body, nor a scope, nor a
//! shared call.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod ambient;
mod cache_padded;
mod layer;
mod measure;
mod mode;
mod outcome;
mod per_thread;
mod relay;
mod timer;
mod wake;

pub use ambient::{
    Ambient, Attempt, Criticality, Deadline, InnerReport, Scope, SharedCount, Signals,
    SimulatedWallClock, Spent, WallClock,
};
pub use cache_padded::CachePadded;
pub use layer::{
    CallCount, CallSettings, Check, Enforcement, Extent, LayerSettings, MAX_READINESS_WAIT,
    SharedSettings, StateScope, give_back_ready, seeds, take_ready,
};
pub use measure::{Measure, Metric, MetricKind, MetricValue, Reading};
#[cfg(feature = "json")]
pub use mode::Json;
pub use mode::{
    Age, Bind, Blend, ByteBudget, Codec, Degraded, Expire, FixedKey, Guard, KeyLookup, KeyOf,
    Lifetime, MarkGaveUp, NoTimeLeft, Plain, Progress, Propagate, Quota, Reader, Replay, Respond,
    SeedAndDeadline, Share, Source, StoreKey, Upload, UploadWait, WantedFreshness,
};
pub use outcome::{
    BoxError, By, ByMode, Classify, Judge, Origin, Reason, Rejection, RetryHint, SeedHint, Verdict,
};
pub use per_thread::{PerThread, ThreadCopy};
pub use relay::{DriveEnd, Driven, Driver, Join, MemberId, Relay, WatchdogHost};
pub use timer::{TickTimer, Timer, Timers};
pub use wake::wake_all;

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
