//! A layer that ends calls at a deadline: waiting for readiness, the call, and the response body.
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
//! On a client twice: outermost as the caller's patience, and inside a retry as the timeout of one
//! attempt, which is then the earlier of the two. On a server outermost, so that everything a handler
//! calls knows how long the client will wait.
//!
//! Not for idle timeouts (a connection without traffic), and not to stop a computation that does not
//! yield: a future is cut off between two polls.
//!
//! # Deadlines
//!
//! The effective deadline is the earliest of the layer's own timeout, the ambient
//! [`Deadline`](buttress_core::Deadline), and the one that came with the request (in `Http` mode:
//! `grpc-timeout`, a configurable header, an extension). It is ambient for everything inside.
//! The timeout counts from `call`, or from the first time `poll_ready` was pending, whether or not
//! the response future has been polled since.
//!
//! An answer and a deadline at the same instant: the answer wins. In a body the same holds for each
//! frame: a frame that is ready at the deadline is handed on, and a frame that is ready later is not.
//! So a body that is never pending ends at the deadline too.
//!
//! [`until_head`](DeadlineLayer::until_head) ends the layer's own timeout at the response head. Until
//! then it is ambient like any other. It is not announced, and no layer inside applies it to a body.
//! For the body, the ambient deadline is the earliest of the one outside and the one that came with the
//! request. This layer does not enforce it there.
//!
//! [`observe`](DeadlineLayer::observe) counts and reports. The ambient deadline inside stays the one
//! outside, and the request is sent as it came.
//!
//! In `Http` mode a deadline is announced as the time left. If nothing is left to announce, the call
//! is expired: it is rejected and not sent.
//!
//! # Readiness
//!
//! `poll_ready` is the inner service's. While that is pending the deadline runs; when it passes, the
//! instance that waited is replaced by a clone, which gives up its place in any queue, `poll_ready`
//! returns ready, and the next `call` is rejected. A handle whose wait was abandoned keeps counting:
//! drop it, or let the late verdict out with a call. Clones have waited for nothing.
//!
//! # Errors
//!
//! The error type is the inner service's. A deadline that passes is a
//! [`Rejection`](buttress_core::Rejection) with [`DeadlineExceeded`](buttress_core::Reason): as an
//! `Err` in `Plain` mode (the error must be `From<Rejection>`), as a 504 or as `grpc-status: 4` in
//! `Http` mode, and in the middle of a body as gRPC trailers or a body error. A call whose deadline
//! has passed on arrival, or leaves nothing to announce, does not reach the inner service. A layer with
//! [`max_reject_ratio`](DeadlineLayer::max_reject_ratio) may serve it, and then announces no zero.
//!
//! # Cancellation
//!
//! When the deadline passes, the inner future or body is dropped before the caller hears of it.
//! Dropping the response future or body disarms its timer. Nothing is spawned.
//!
//! # Sharing
//!
//! Clones of a layer and all services it makes share counts and timers. The timers of one layer wait
//! in one queue per thread, behind a single timer of the runtime, and only once a call is pending: a
//! call that answers at once costs no timer. Response futures must be polled within a tokio runtime
//! that has its time driver enabled, like tokio's own timers.
//!
//! # Events
//!
//! | level | event | fields |
//! |---|---|---|
//! | debug | `deadline.expired` | `instance`; `served`: whether the call was let through all the same |
//! | debug | `deadline.exceeded` | `instance`; `phase`: `readiness`, `call` or `body`; `observed` |
//!
//! A call has at most one `deadline.exceeded`. Of several layers with one deadline, the layer that ends
//! the call or the body emits the event.
//!
//! # Defaults
//!
//! | option | default |
//! |---|---|
//! | [`named`](DeadlineLayer::named) | `"deadline"` |
//! | [`until_head`](DeadlineLayer::until_head) | off: the body is covered |
//! | [`max_reject_ratio`](DeadlineLayer::max_reject_ratio) | all calls that arrive too late are rejected |
//! | [`observe`](DeadlineLayer::observe) | off: deadlines are enforced |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod future;
mod guard;
mod handle;
mod late_rejections;
mod layer;
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

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
