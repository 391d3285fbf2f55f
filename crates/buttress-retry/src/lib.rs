//! Retries with jittered backoff, a retry budget, server hints and the caller's deadline.
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
//! Use the layer around a client of a service that sometimes fails. Place it inside the caller's
//! deadline and outside the attempt's: deadline → retry → deadline → transport. In a call tree,
//! retry in a single layer: the layer next to the failing service.
//!
//! Do not use it for a service that is down (use a circuit breaker, inside of the retry). Do not use
//! it on a server, because the client knows better whether to retry.
//!
//! # What is repeated
//!
//! A call is repeated if all of these hold:
//!
//! - The [`Verdict`](buttress_core::Verdict) is transient, timed out, throttled or never processed, or a
//!   layer below rejected the call and said when to retry. An open circuit counts only with
//!   [`wait_for_circuit`](RetryLayer::wait_for_circuit).
//! - The request can be sent again whole, and sending it again is harmless.
//! - The budget pays for the attempt.
//! - The attempt can begin before the deadline.
//!
//! Otherwise the last outcome is returned at once and unchanged, and [`StopReason`] says why. No
//! wait is cut short to fit the deadline.
//!
//! | the outcome | the next attempt |
//! |---|---|
//! | transient, timed out, throttled | after the backoff, paid from the budget |
//! | with HTTP's hint | after the hinted time plus a random part of the backoff |
//! | with gRPC's pushback | after exactly the hinted time, and the backoff starts anew. Negative: none |
//! | provably never processed | the first: at once and free, for any method. Later: as transient |
//! | rejected by a layer below | once and free, after exactly the time that the rejection names |
//! | rejected by an open circuit below | none |
//! | the same, with [`wait_for_circuit`](RetryLayer::wait_for_circuit) | once and free, after the time that the rejection names plus a random part of up to half of it |
//! | given up by a retry below | none |
//!
//! An attempt has timed out if a deadline passed below while the call's own deadline has time left.
//! The service did not answer, and may have acted.
//!
//! The attempts of a [spare](buttress_core::Attempt::spare) call, such as a hedge, are spare too.
//!
//! A free attempt counts neither as an attempt nor in the budget, as gRFC A6 defines transparent
//! retries, because the service never saw the call. `grpc-previous-rpc-attempts` omits it, and
//! [`Attempt::number`](buttress_core::Attempt::number) includes it. If the attempt that is repeated
//! was paid for, its payment passes to the free attempt. A layer of a single attempt repeats
//! nothing, not even for free.
//!
//! # Why a call stops
//!
//! The retry asks these questions in this order. The first answer of yes stops the call.
//!
//! | | question | [`StopReason`] |
//! |--:|---|---|
//! | 1 | Is the verdict permanent or unknown, or did the service itself run out of time? | `NotRetryable` |
//! | 2 | Did a layer below reject the call because the deadline had passed? | `Deadline` |
//! | 3 | Did a layer below reject the call again, or without naming a time, or because its circuit is open and the layer does not [wait](RetryLayer::wait_for_circuit) for it? | `Rejected` |
//! | 4 | Did a retry below give up? | `GaveUpBelow` |
//! | 5 | Did the server ask for no further attempt? | `Pushback` |
//! | 6 | Was this the last attempt? | `AttemptsUsed` |
//! | 7 | Was the request not kept, because it can be sent only once? | `NotReplayable` |
//! | 8 | May the service have acted, and is acting twice harmful? | `NotIdempotent` |
//! | 9 | Does a hint above zero leave less than 1 ms before the deadline, or exceed `max_hint` without a deadline? | `PushbackExceedsDeadline` |
//! | 10 | Would the attempt begin less than 1 ms before the deadline? | `Deadline` |
//! | 11 | Would the attempt usually end at the deadline or later? Only with [`skip_late_attempts`](RetryLayer::skip_late_attempts) | `CannotFinish` |
//! | 12 | Can the kept request no longer be sent whole? | `NotReplayable` |
//! | 13 | Would no time be left to announce? | `Deadline` |
//! | 14 | Is the budget empty? | `BudgetEmpty` |
//!
//! After the wait, `Deadline` also stops a call that is not ready in time, if its last outcome was
//! kept. Without a deadline, `NotReady` does so 60 s after the service was found not ready.
//!
//! # Hints
//!
//! A call never retries earlier than a hint says. A hint that fits into the deadline is waited for
//! in full. Without a deadline, a hint of up to [`max_hint`](RetryLayer::max_hint) is waited for.
//! Any other hint stops the call at once.
//!
//! After an HTTP hint the call waits up to the computed backoff longer, because many clients are
//! given the same second. If the deadline leaves less time, that random part is shortened, never
//! the hint.
//!
//! # Open circuits
//!
//! A circuit breaker inside of the retry rejects the calls of an outage, and tells all of them the
//! instant at which the circuit half-opens. If the retry waited, the calls would pile up in memory
//! and come together at that instant, when the breaker admits a few probes. So an open circuit
//! stops the call at once, and costs no budget. The outcome is not marked as given up.
//!
//! With [`wait_for_circuit`](RetryLayer::wait_for_circuit) a call waits once: for the time that the
//! rejection names, plus a random part of up to half of it. The time itself must fit as that of a
//! hint must. If the deadline leaves less time, the random part is shortened. So the calls with
//! little time left come first. They may be the probes of the half-open circuit, and fail as probes
//! because their deadlines pass.
//!
//! # The deadline
//!
//! The deadline of a call is the earlier of two: the ambient deadline, and the deadline that came
//! with the request, in `grpc-timeout` or the [chosen header](buttress_core::Propagate::deadline).
//! Every attempt runs under this deadline and announces the time left. No attempt is planned for
//! the last millisecond.
//!
//! The deadline also ends a wait for the service to become ready. The call then returns its last
//! error, or its last response if that response has no body (gRPC's trailers alone, or a length of
//! 0).
//!
//! A response with a body was dropped before the wait, so that no connection or permit is held.
//! Then nothing is left to return, and the layer that enforces the deadline ends the wait. If there
//! is no such layer, the attempt begins once the service is ready. It runs under the deadline that
//! has passed, and announces 2 ms.
//!
//! Without a deadline, the wait for readiness ends after 60 s with the outcome that was kept. If no
//! outcome was kept, the wait has no end. So put a deadline outside.
//!
//! # Nested retries
//!
//! A retry that stops after trying marks the outcome, and an outer retry does not repeat a marked
//! outcome. If the deadline leaves no time for a second attempt, the outcome is not marked, because
//! an outer retry may have more time.
//!
//! A response over HTTP carries the mark in its extensions. Any other outcome (an error, and a
//! response in `Plain` mode) is marked for the layer that polls it. A retry reads that mark for
//! every outcome of the same poll. Example: a handler makes a call on the side, which fails. If the
//! handler fails with an error in the same poll, the retry around the handler stops. Across a
//! spawned task the mark is not seen, and each retry decides for itself.
//!
//! In `Plain` mode every `Err` is transient and the request must be `Clone`. The docs of
//! `buttress-http` list the verdicts of `Http` mode.
//!
//! # Readiness
//!
//! `poll_ready` is the inner service's. The first attempt goes to the instance that was ready.
//! Later attempts go to a clone, whose readiness the response future polls. A failure of readiness
//! counts as a failure of the call.
//!
//! # Errors
//!
//! The error type is the inner service's, and every error comes from the inner service.
//!
//! The layers outside see the [`Signals`](buttress_core::Signals) of the attempt whose outcome is
//! returned. [`Signals::spent`](buttress_core::Signals::spent) counts the further attempts, and adds
//! up what the layers below spent in all attempts.
//!
//! # Cancellation
//!
//! Dropping the response future drops the attempt or the wait. If a retry has not begun, its
//! payment goes back: the same tokens, dated to the time they were taken from.
//!
//! An attempt that has ended is dropped before the next is planned, because it may still own the
//! request's body. A failed response is dropped before the wait, unless it has no body.
//!
//! # Sharing
//!
//! Clones of a layer and all its services share the attempts, the backoff, the budget, the counters,
//! the learned times and the random generator. With [`per_service`](RetryLayer::per_service), each
//! service has all of these of its own, except the random generator and a budget that was given.
//!
//! [`RetryHandle::set_attempts`] and [`RetryHandle::set_backoff`] change the layer while calls run,
//! also for services made before. A running call reads both after each failed attempt.
//!
//! A [`Budget`] can be given to several layers, also within a stack: it counts each call and each
//! outcome once. [`Budget::withdraw_only`] is for a layer whose calls earn nothing.
//!
//! While calls come slowly, a budget reads the clock for each call. While calls come in quick
//! succession, the clock is read for every 16th. A call is never dated later than it was made.
//! After a pause, up to 15 calls may be dated before the pause.
//!
//! # Events
//!
//! | level | event | fields |
//! |---|---|---|
//! | trace | `retry.attempt` | `instance`, `attempt` from 1, `verdict` |
//! | debug | `retry.scheduled` | `instance`, `attempt` that failed, `delay`, `verdict`, `observed` |
//! | debug | `retry.stopped` | `instance`, `reason` ([`StopReason`]), `attempts` made, `verdict` |
//!
//! # Metrics
//!
//! A [`RetryHandle`] is a [`Measure`](buttress_core::Measure) with these metrics. Each reading has
//! the name of the layer as its instance.
//!
//! | metric | kind | unit | label | description |
//! |---|---|---|---|---|
//! | `buttress.retry.calls` | counter | `{call}` | – | Calls. Their further attempts are not among them. |
//! | `buttress.retry.retries` | counter | `{attempt}` | – | Attempts after the first, or those that would be scheduled if the layer only observes. |
//! | `buttress.retry.stopped` | counter | `{call}` | `reason` | Failed calls that were not repeated. |
//! | `buttress.retry.budget` | gauge | `{token}` | – | Balance of the budget that pays for the retries. |
//!
//! The label `reason` is a [`StopReason`], and every reason has a reading. An unlimited budget has no
//! reading. `stopped` has one count for each call that returns a failure. The layer counts neither
//! successes nor dropped calls.
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
//! | [`wait_for_circuit`](RetryLayer::wait_for_circuit) | off: an open circuit stops the call |
//! | [`observe`](RetryLayer::observe) | off: failed calls are repeated |
//! | [`per_service`](RetryLayer::per_service) | off: all services share counters and the budget |
//! | [`named`](RetryLayer::named) | `"retry"` |
//! | [`seed`](RetryLayer::seed) | random |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod attempt_time;
mod attempts;
mod future;
mod handle;
mod layer;
mod metrics;
mod service;
mod settings;
mod stop_counts;
mod stop_reason;

pub use buttress_control::{Backoff, Jitter, Ratio, RetryThrottle, TokenBucket};
pub use buttress_state::Budget;
pub use future::ResponseFuture;
pub use handle::{RetryHandle, RetrySnapshot};
pub use layer::RetryLayer;
pub use service::Retry;
pub use stop_counts::StopCounts;
pub use stop_reason::StopReason;

/// Runs the example in the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
