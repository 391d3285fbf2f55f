//! A fallback for failed calls: a fixed value, an answer computed from the outcome, or another
//! service.
//!
//! ```
//! use buttress_core::{BoxError, Verdict};
//! use buttress_fallback::FallbackLayer;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let answer = |verdict: Verdict, _: Result<&String, &BoxError>| format!("sorry: {verdict:?}");
//! let layer = FallbackLayer::answer(answer);
//! let handle = layer.handle();
//! let page = ServiceBuilder::new()
//!     .layer(layer)
//!     .service_fn(|(): ()| async { Err::<String, _>(BoxError::from("down")) });
//! assert_eq!(page.oneshot(()).await.unwrap(), "sorry: Transient");
//! assert_eq!(handle.answered(), 1);
//! # }
//! ```
//!
//! # When to use it
//!
//! Use the layer where a degraded answer is better than an error: a default value, an error page, a
//! replica or an older system. Place the layer **outside the caller's deadline**, because otherwise
//! no time is left to answer: fallback → deadline → everything else. There a deadline that passes
//! inside is an outcome like any other.
//!
//! Do not use it to hide errors from a caller that could act on them. Do not use another service as
//! the fallback if that service fails for the same reasons: its load then rises in every outage.
//!
//! # Which outcomes are answered
//!
//! | verdict | answered |
//! |---|---|
//! | [`Success`](buttress_core::Verdict::Success) | never |
//! | [`Permanent`](buttress_core::Verdict::Permanent) | no: the service itself decided, as with a 404 |
//! | [`Rejected`](buttress_core::Verdict::Rejected) with [`Superseded`](buttress_core::Reason::Superseded) | no: a later call replaced this call |
//! | [`Rejected`](buttress_core::Verdict::Rejected) with [`NeverAdmissible`](buttress_core::Reason::NeverAdmissible) | no: the request itself is too large |
//! | any other | yes |
//!
//! [`when`](FallbackLayer::when) replaces this table, except for `Success`.
//! [`classify`](FallbackLayer::classify) replaces the verdict itself. An outcome that is not answered
//! passes unchanged, with the [`Signals`](buttress_core::Signals) of the layers inside.
//!
//! The fallback runs at most once per call, and never for a call that is dropped. A
//! [spare](buttress_core::Attempt::spare) call of a hedge outside is not answered, because the answer
//! would win over the try that is still running.
//!
//! # The answer
//!
//! - [`value`](FallbackLayer::value) answers with a clone of a value.
//! - [`answer`](FallbackLayer::answer) computes the answer from the verdict and the outcome.
//! - [`service`](FallbackLayer::service) sends the request to an alternative service.
//!
//! The first two keep nothing of the request. The mode joins the two response types with
//! [`Blend`](buttress_core::Blend): in `Plain` mode the answer must be a response of the service.
//! Over HTTP the body is the body of either, and holds no guard of this layer. A service of reqwest
//! is answered with a `reqwest::Response`, or with an `http::Response` whose body is
//! `Into<reqwest::Body>`, such as a string or `Bytes`.
//!
//! Around HTTP, bind the layer with `.http()`. In `Plain` mode every response is a success, a 500
//! included, and only an `Err` is answered.
//!
//! An answer is marked. Over HTTP, [`Degraded`] is in the extensions of the response. A tonic stub
//! drops extensions, so there a header marks the answer: `Http::fallback_header` of `buttress-http`.
//! In every mode, the answer raises the [`degraded`](buttress_core::Signals::degraded) signal for the
//! layers outside, and a cache does not store an outcome with that signal. Status and headers of the
//! answer are the user's.
//!
//! # The alternative service
//!
//! The request is kept as a retry keeps it, and is sent again with its deadline and under the ambient
//! deadline. The layer does not ask whether the request is idempotent, because the alternative is
//! another service. Outside of the caller's deadline, the alternative has no time limit except its
//! own: give it a deadline layer.
//!
//! At most [`at_most`](FallbackLayer::at_most) calls of the alternative run at a time, from
//! the wait for its readiness to the head of its response. A fallback without such a limit becomes
//! the second outage. Each call waits for the readiness of its own clone.
//!
//! The alternative has answered if its response has the verdict `Success`, or `Permanent` where this
//! layer does not answer `Permanent`. The layer returns the **first outcome unchanged**, with its body
//! unread, if the alternative:
//!
//! - failed too, as an error, as a response with another verdict, or in readiness
//! - had no place left, or has a limit of 0
//! - could not get the request, because the body can no longer be sent whole
//! - could not get the request in time, because the deadline has passed or leaves no time to announce
//!
//! So a first response keeps its connection, and the permits of layers inside, while the alternative
//! runs.
//!
//! # Readiness
//!
//! `poll_ready` is the inner service's, and so are its errors. The layer cannot answer those: it has
//! no request at that time. The instance that was ready is called.
//!
//! If [`await_ready`](FallbackLayer::await_ready) is set, `poll_ready` is ready at once and never
//! fails. Each call waits for the readiness of its own clone, and a readiness error is an outcome like
//! any other. So the fallback covers a closed `Buffer`, too. Callers then see no backpressure: put a
//! limit or a deadline inside.
//!
//! # Errors
//!
//! The error type is the inner service's, and every error comes from the inner service. An
//! alternative service has the same error type, but its errors only reach events.
//!
//! # Cancellation
//!
//! Dropping the response future drops the call, or the first outcome and the call of the alternative.
//! The layer spawns nothing. The inner future is dropped before the fallback begins.
//!
//! A panic of the closure, of `Clone` of the value or of the alternative passes through. The place
//! under [`at_most`](FallbackLayer::at_most) is free again.
//!
//! # Sharing
//!
//! Clones of a layer and all its services share the counters and the count of running alternative
//! calls. With [`per_service`](FallbackLayer::per_service), only the clones of a service do. The value
//! and the closure are shared by all of them, without a copy per call.
//!
//! # Events
//!
//! | level | event | fields |
//! |---|---|---|
//! | debug | `fallback.answered` | `instance`, `instead_of`: the verdict of the first outcome, `source`: `value`, `answer` or `service`, `observed` |
//! | debug | `fallback.failed` | `instance`, `instead_of`, `reason`: `failed`, `not_replayable` or `no_time_left`, `verdict` of the alternative if it failed |
//! | debug | `fallback.full` | `instance`, `instead_of` |
//!
//! # Metrics
//!
//! A [`FallbackHandle`] is a [`Measure`](buttress_core::Measure) with these metrics. Each reading has
//! the name of the layer as its instance.
//!
//! | metric | kind | unit | label | description |
//! |---|---|---|---|---|
//! | `buttress.fallback.calls` | counter | `{call}` | – | Calls. |
//! | `buttress.fallback.answered` | counter | `{call}` | – | Calls that the fallback answered, or would have answered if the layer only observes. |
//! | `buttress.fallback.failed` | counter | `{call}` | – | Calls that the alternative service could not answer. |
//! | `buttress.fallback.full` | counter | `{call}` | – | Calls that found too many calls of the alternative service running. |
//! | `buttress.fallback.in_flight` | gauge | `{call}` | – | Calls that wait for, or run on, the alternative service. |
//!
//! Each call that the fallback is asked about ends in one of `answered`, `failed` and `full`, unless
//! the call is dropped before. The layer does not count the calls whose first outcome it passes on
//! without asking.
//!
//! # Defaults
//!
//! | option | default |
//! |---|---|
//! | [`at_most`](FallbackLayer::at_most) | 10 calls of the alternative service at a time |
//! | [`when`](FallbackLayer::when) | the table above |
//! | [`classify`](FallbackLayer::classify) | the mode's |
//! | [`await_ready`](FallbackLayer::await_ready) | off: `poll_ready` waits |
//! | [`observe`](FallbackLayer::observe) | off: outcomes are answered |
//! | [`per_service`](FallbackLayer::per_service) | off: all services share counters |
//! | [`named`](FallbackLayer::named) | `"fallback"` |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod alternative;
mod aside;
mod call_parts;
mod first_outcome;
mod future;
mod handle;
mod held_outcome;
mod layer;
mod selection;
mod service;
mod settings;

pub use alternative::{Alternative, AlternativeService, ComputedAnswer, FixedAnswer};
pub use buttress_core::{Degraded, Source};
pub use future::ResponseFuture;
pub use handle::{FallbackHandle, FallbackSnapshot};
pub use layer::FallbackLayer;
pub use service::Fallback;

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
