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
//! it; and if another attempt can begin before the ambient deadline. Otherwise the last outcome is
//! returned at once and unchanged, and [`Stop`] says why. No wait is cut short to fit the deadline.
//!
//! | the outcome | is repeated |
//! |---|---|
//! | transient, timed out, throttled | after the backoff, paid from the budget |
//! | with a server's hint | after what it says, but within the computed delay and 5 s more; a negative one stops |
//! | provably never processed | once at once and free, whatever the method; later as transient |
//! | rejected by a layer below | once and free, if it said when it would admit the call |
//! | given up by a retry below | never |
//!
//! An attempt has timed out where a deadline passed below while the ambient one has time left: the
//! service did not answer, and may have acted. All attempts count, the free ones too.
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
//! back. A failed response is dropped before the wait for the next attempt.
//!
//! # Sharing
//!
//! Clones of a layer and all services it makes share the budget, the counts and the source of chance.
//! A [`Budget`] can be given to several layers. It reads the clock for one call in sixteen: up to
//! fifteen calls count for it from a little later than they were made.
//!
//! # Events
//!
//! | level | event | fields |
//! |---|---|---|
//! | trace | `retry.attempt` | `instance`, `attempt` from 1, `verdict` |
//! | debug | `retry.scheduled` | `instance`, `attempt` that failed, `delay`, `verdict` |
//! | debug | `retry.stopped` | `instance`, `reason` ([`Stop`]), `attempts` made, `verdict` |
//!
//! # Defaults
//!
//! | option | default |
//! |---|---|
//! | [`backoff`](RetryLayer::backoff) | exponential, 1 s to 10 s, full jitter |
//! | [`budget`](RetryLayer::budget) | 20 % of the calls plus 10 per second, over 10 s |
//! | [`classify`](RetryLayer::classify) | the mode's |
//! | [`skip_hopeless`](RetryLayer::skip_hopeless) | off |
//! | [`named`](RetryLayer::named) | `"retry"` |
//! | [`seed`](RetryLayer::seed) | random |

mod budget;
mod call;
mod future;
mod handle;
mod layer;
mod pace;
mod plan;
mod service;
mod settings;
mod stop;
mod tries;
mod undated;

pub use budget::Budget;
pub use buttress_control::{Backoff, Jitter, Ratio, RetryThrottle, TokenBucket};
pub use future::ResponseFuture;
pub use handle::RetryHandle;
pub use layer::RetryLayer;
pub use service::Retry;
pub use stop::Stop;
