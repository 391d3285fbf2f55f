//! A layer that repeats failed calls: with jittered backoff, from a budget, and within the deadline.
//!
//! ```
//! use buttress_core::BoxError;
//! use buttress_retry::RetryLayer;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let layer = RetryLayer::new(3);
//! let handle = layer.handle();
//! let database = ServiceBuilder::new().layer(layer).service_fn(|row: u32| async move {
//!     if buttress_core::Attempt::current().number() < 3 { Err(BoxError::from("busy")) } else { Ok(row) }
//! });
//! assert_eq!(database.oneshot(7).await.unwrap(), 7);
//! assert_eq!(handle.retries(), 2);
//! # }
//! ```
//!
//! # When to use it
//!
//! Around a client of a service that fails now and then, inside the caller's deadline and outside
//! the attempt's: deadline → retry → deadline → transport. In one layer of a call tree only: the one
//! next to what fails.
//!
//! Not for a service that is down (a breaker), and not on a server, where the client knows better.
//!
//! # What is repeated
//!
//! A call is repeated if its [`Verdict`](buttress_core::Verdict) is transient, timed out, throttled or
//! never processed; if the request can be sent again whole; if doing so is harmless; if the budget pays for
//! it; and if another attempt can begin before the deadline. Otherwise the last outcome is
//! returned at once and unchanged, and [`StopReason`] says why. No wait is cut short to fit the deadline.
//!
//! | the outcome | is repeated |
//! |---|---|
//! | transient, timed out, throttled | after the backoff, paid from the budget |
//! | with HTTP's hint | after what it says and a random part of the backoff |
//! | with gRPC's pushback | after exactly what it says; the backoff starts anew. A negative one stops |
//! | provably never processed | once at once and free, whatever the method; later as transient |
//! | rejected by a layer below | once and free, after exactly what it says, if it says when to come |
//! | given up by a retry below | never |
//!
//! An attempt has timed out where a deadline passed below while the call's own has time left: the
//! service did not answer, and may have acted.
//!
//! A free repetition counts neither as an attempt nor in the budget, as gRFC A6 has it for transparent
//! retries: the service never saw the call. `grpc-previous-rpc-attempts` leaves it out,
//! [`Attempt::number`](buttress_core::Attempt::number) does not. If the call that is repeated was a paid
//! repetition itself, its payment counts for the free one. A layer of one attempt repeats nothing, not even
//! what is free.
//!
//! # Hints
//!
//! A call never comes earlier than it was told. A hint that fits into the deadline is waited for in full;
//! without a deadline, one of up to [`max_hint`](RetryLayer::max_hint). Any other stops the call at once.
//! After an HTTP hint the call waits up to the computed backoff longer, because many clients are told
//! the same second. If the deadline leaves less, that part is shortened, never the hint.
//!
//! # The deadline
//!
//! The deadline of a call is the earlier of the ambient one and the one that came with the request, in
//! `grpc-timeout` or the [chosen header](buttress_core::Propagate::deadline). Every attempt runs under it and
//! announces what is left. No attempt is planned for its last millisecond.
//!
//! The deadline also ends a wait for the service to become ready. The call then returns its last error, or
//! its last response if that has no body (gRPC's trailers alone, a length of 0). A response with a body
//! was dropped before the wait, so that it holds no connection or permit, and nothing is left to return:
//! this wait is ended by the layer that enforces the deadline. If there is none, the attempt begins once
//! the service is ready, under the deadline that has passed, and announces 2 ms.
//!
//! # Nested retries
//!
//! A retry that stops after trying marks the outcome, and a retry around it does not repeat that outcome. If
//! the deadline leaves no time for a second attempt, the outcome is not marked, because an outer retry may
//! have more time. A response over HTTP carries the mark in its extensions. Anything else is marked for the layer that
//! polls it: an error, and a response in `Plain` mode. A retry reads that mark for every
//! outcome that comes in the same poll. So a call on the side that failed inside a handler stops
//! the retry around the handler if the handler fails with an error in the same poll. Across a spawned task
//! the mark is not seen, and each retry decides for itself.
//!
//! In `Plain` mode every `Err` is transient and the request must be `Clone`. What `Http` mode takes
//! each outcome for stands in the docs of `buttress-http`.
//!
//! # Readiness
//!
//! `poll_ready` is the inner service's. The first attempt goes to the instance that was ready; later
//! ones go to a clone, wait for it within the response future, and count a failure of readiness as
//! one of the call.
//!
//! # Errors
//!
//! The error type is the inner service's, and every error is one it returned.
//!
//! # Cancellation
//!
//! Dropping the response future drops the attempt or the wait. A retry that had not begun is paid
//! back: the same tokens, and to the time they were taken from. An attempt that has ended is dropped before
//! anything is decided, since it may still own the request's body. A failed response is dropped before the
//! wait, unless it has no body.
//!
//! # Sharing
//!
//! Clones of a layer and all services it makes share the budget, the counts and the source of chance.
//! A [`Budget`] can be given to several layers, also to several in one stack: it counts each call and each
//! outcome once. [`Budget::withdraw_only`] is for a layer whose calls earn nothing.
//!
//! A budget reads the clock for each call while calls come slowly, and for one in sixteen while they
//! come fast. A call is never dated later than it was made. After a pause up to fifteen calls may count as
//! from before it.
//!
//! # Events
//!
//! | level | event | fields |
//! |---|---|---|
//! | trace | `retry.attempt` | `instance`, `attempt` from 1, `verdict` |
//! | debug | `retry.scheduled` | `instance`, `attempt` that failed, `delay`, `verdict`, `observed` |
//! | debug | `retry.stopped` | `instance`, `reason` ([`StopReason`]), `attempts` made, `verdict` |
//!
//! # Defaults
//!
//! | option | default |
//! |---|---|
//! | [`backoff`](RetryLayer::backoff) | exponential, 1 s to 10 s, full jitter |
//! | [`budget`](RetryLayer::budget) | 20 % of the calls plus 10 per second, over 10 s |
//! | [`max_hint`](RetryLayer::max_hint) | 60 s |
//! | [`classify`](RetryLayer::classify) | the mode's |
//! | [`skip_late_attempts`](RetryLayer::skip_late_attempts) | off |
//! | [`named`](RetryLayer::named) | `"retry"` |
//! | [`seed`](RetryLayer::seed) | random |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod attempt_time;
mod attempts;
mod budget;
mod future;
mod handle;
mod layer;
mod service;
mod settings;
mod stop_counts;
mod stop_reason;

pub use budget::Budget;
pub use buttress_control::{Backoff, Jitter, Ratio, RetryThrottle, TokenBucket};
pub use future::ResponseFuture;
pub use handle::{RetryHandle, RetrySnapshot};
pub use layer::RetryLayer;
pub use service::Retry;
pub use stop_counts::StopCounts;
pub use stop_reason::StopReason;

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
