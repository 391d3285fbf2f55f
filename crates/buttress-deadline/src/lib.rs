//! A deadline over readiness, the call and the response body, propagated to everything inside.
//!
//! ```
//! use std::time::Duration;
//! use buttress_core::BoxError;
//! use buttress_deadline::DeadlineLayer;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let service = ServiceBuilder::new()
//!     .layer(DeadlineLayer::new(Duration::from_millis(100)))
//!     .service_fn(|seconds: u64| async move {
//!         tokio::time::sleep(Duration::from_secs(seconds)).await;
//!         Ok::<_, BoxError>("done")
//!     });
//! assert_eq!(service.clone().oneshot(0).await.unwrap(), "done");
//! let error = service.oneshot(1).await.unwrap_err();
//! assert_eq!(error.to_string(), "deadline: deadline exceeded");
//! # }
//! ```
//!
//! # When to use it
//!
//! On a client, use the layer twice. The outermost layer limits the whole operation. A layer inside
//! a retry is the timeout of an attempt, which then ends at the earlier of the two deadlines. On a
//! server, use it outermost, so that everything a handler calls knows how long the client will
//! wait.
//!
//! Inside a handler, use [`propagate`](DeadlineLayer::propagate): that layer has no timeout of its
//! own, enforces the caller's deadline and passes it on.
//!
//! A layer is in `Plain` mode, where a rejection is an `Err`, until `.http()` of `buttress-http`
//! puts it into `Http` mode, where a rejection is a response.
//!
//! Do not use it for idle timeouts (a connection without traffic). It cannot stop a computation
//! that does not yield, because a future is cut off between two polls.
//!
//! # Deadlines
//!
//! The effective deadline is the earliest of three: the layer's own timeout, the ambient
//! [`Deadline`](buttress_core::Deadline), and the deadline that came with the request. In `Http`
//! mode the last is read from `grpc-timeout`, a configurable header, or an extension. The effective
//! deadline is ambient for everything inside.
//!
//! The timeout counts from `call`, or from the first time `poll_ready` was pending. It counts
//! whether or not the response future is polled.
//!
//! If a response is ready at the very instant of the deadline, the response wins. In a body the
//! same holds for each frame: a frame that is ready at the deadline is passed on, and a later frame
//! is not. So a body that is never pending ends at the deadline too.
//!
//! If [`until_head`](DeadlineLayer::until_head) is set, the layer's own timeout ends at the
//! response head. Until then the timeout is ambient like any other. It is not announced, and no
//! layer inside applies it to a body. For the body, the ambient deadline is the earlier of the
//! outer deadline and the deadline that came with the request. This layer does not enforce that
//! deadline there.
//!
//! If [`observe`](DeadlineLayer::observe) is set, the layer only counts and reports. The ambient
//! deadline inside stays the outer deadline, and the request is sent unchanged.
//!
//! In `Http` mode a deadline is announced as the time left. If no time is left to announce, the
//! call is expired: the layer rejects the call and does not send the request.
//!
//! # Readiness
//!
//! `poll_ready` is the inner service's. The deadline runs while the inner service is pending. When
//! the deadline passes:
//!
//! 1. The layer replaces the instance that waited by a clone, which gives up its place in any queue.
//! 2. `poll_ready` returns ready.
//! 3. The next `call` is rejected.
//!
//! If you stop waiting for readiness, the deadline of that clone of the service keeps running. Drop
//! the clone, or make one call to consume the rejection. A new clone has not waited, so no earlier
//! wait counts against its calls.
//!
//! # Errors
//!
//! The error type is the inner service's. A deadline that passes is a
//! [`Rejection`](buttress_core::Rejection) with [`DeadlineExceeded`](buttress_core::Reason):
//!
//! | mode | before the head | in the body |
//! |---|---|---|
//! | `Plain` | an `Err`, so the error must be `From<Rejection>` | never, because this mode knows no bodies |
//! | `Http` | a 504, or `grpc-status: 4` | gRPC trailers, or a body error |
//!
//! If the deadline has passed on arrival, or leaves no time to announce, the call does not reach
//! the inner service. A layer with [`max_reject_ratio`](DeadlineLayer::max_reject_ratio) may serve
//! such a call, and then announces no zero.
//!
//! # Cancellation
//!
//! When the deadline passes, the layer drops the inner future or body before the caller gets the
//! rejection. Dropping the response future or body disarms its timer. The layer spawns nothing.
//!
//! # Sharing
//!
//! Clones of a layer and all its services share the timeout, counters and timers. With
//! [`per_service`](DeadlineLayer::per_service), only the clones of a service do.
//!
//! [`DeadlineHandle::set_timeout`] changes the timeout while calls run, also that of services made
//! before. A running call keeps the deadline that it began with, and so does a wait for readiness.
//!
//! The timers of a layer wait in a queue per thread, behind a single timer of the runtime. A call
//! joins the queue when it is first pending, so a call that completes at once costs no timer. Poll
//! response futures within a tokio runtime that has its time driver enabled, as for tokio's own
//! timers.
//!
//! # Events
//!
//! | level | event | fields |
//! |---|---|---|
//! | debug | `deadline.expired` | `instance`; `served`: whether the call was let through all the same |
//! | debug | `deadline.exceeded` | `instance`; `phase`: `readiness`, `call` or `body`; `observed` |
//!
//! A call has at most one `deadline.exceeded`. If several layers have the same deadline, the layer
//! that ends the call or the body emits the event.
//!
//! # Metrics
//!
//! A [`DeadlineHandle`] is a [`Measure`](buttress_core::Measure) with these metrics. Each reading
//! has the name of the layer as its instance.
//!
//! | metric | kind | unit | label | description |
//! |---|---|---|---|---|
//! | `buttress.deadline.calls` | counter | `{call}` | – | Calls, rejected calls included. |
//! | `buttress.deadline.expired` | counter | `{call}` | – | Calls that arrived after their deadline, or with no time left to announce. |
//! | `buttress.deadline.served_late` | counter | `{call}` | – | Expired calls that the limit of rejections let through. |
//! | `buttress.deadline.exceeded` | counter | `{call}` | – | Calls and bodies whose deadline passed while they ran or waited for readiness. |
//! | `buttress.deadline.rejected` | counter | `{call}` | – | Calls that the layer ended, or would have ended if it only observes. |
//! | `buttress.deadline.in_flight` | gauge | `{call}` | – | Calls and bodies that are pending under the timers of the layer. |
//!
//! `rejected` is `expired - served_late + exceeded`. The layer does not count the calls that end in
//! time, nor those that are dropped.
//!
//! # Defaults
//!
//! | option | default |
//! |---|---|
//! | [`named`](DeadlineLayer::named) | `"deadline"` |
//! | [`until_head`](DeadlineLayer::until_head) | off: the body is covered |
//! | [`max_reject_ratio`](DeadlineLayer::max_reject_ratio) | all calls that arrive too late are rejected |
//! | [`observe`](DeadlineLayer::observe) | off: deadlines are enforced |
//! | [`per_service`](DeadlineLayer::per_service) | off: all services share the timeout, counters and timers |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod future;
mod guard;
mod handle;
mod late_rejections;
mod layer;
mod live_timeout;
mod readiness;
mod scoped_call;
mod service;
mod settings;
mod timed_call;

pub use buttress_control::Ratio;
pub use future::ResponseFuture;
pub use guard::DeadlineGuard;
pub use handle::{DeadlineHandle, DeadlineSnapshot};
pub use layer::DeadlineLayer;
pub use service::DeadlineService;

/// Runs the example in the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
