//! A circuit breaker with gradual recovery, for all calls or per key, for any tower service.
//!
//! ```
//! use buttress_breaker::{BreakerLayer, CircuitState};
//! use buttress_core::BoxError;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let breaker = BreakerLayer::new().named("db");
//! let handle = breaker.handle();
//! let database = ServiceBuilder::new()
//!     .layer(breaker)
//!     .service_fn(|row: u32| async move { Err::<u32, _>(BoxError::from("down")) });
//! for row in 0..5 {
//!     assert_eq!(database.clone().oneshot(row).await.unwrap_err().to_string(), "down");
//! }
//! assert_eq!(handle.state(), CircuitState::Open);
//! let error = database.oneshot(5).await.unwrap_err();
//! assert!(error.to_string().starts_with("breaker `db`: circuit open, retry after"));
//! # }
//! ```
//!
//! # When to use it
//!
//! Use the layer on a client of a service that may be down or hang. Place the breaker inside the
//! retry, so that the breaker sees each attempt, and outside the limits and the deadline of an
//! attempt. A client of several services needs a circuit [per key](BreakerLayer::keyed), such as per
//! host. Around the handlers of a proxy, the breaker protects the upstreams in the same way.
//!
//! Do not use the layer against overload alone: a limit takes load off a service that still answers.
//! Do not use it where another instance can serve the call: a balancer finds that instance.
//!
//! # What an outcome counts as
//!
//! The breaker reads one [`Verdict`](buttress_core::Verdict) per call, when the response head is
//! there.
//!
//! | verdict | counts as |
//! |---|---|
//! | success; permanent failure, because the service answers | success |
//! | transient, timed out, never processed, unknown; a panic in the call, or `Panicked` | failure |
//! | expired, or the rejection `DeadlineExceeded` | failure |
//! | throttled | shed: a failure in the ratio and of a probe, which neither lengthens nor ends a run |
//! | any other rejection by a layer below | nothing |
//! | a permanent failure that [no server sent](buttress_core::Classify::is_callers_own) | nothing |
//! | none: dropped after the deadline that was ambient at `call` | failure |
//! | none: dropped before | nothing |
//!
//! [`patience`](BreakerLayer::patience) changes the rule for calls that ran out of time and for
//! dropped calls. A throttled call counts as shed and not as a plain failure, as in linkerd: a 429
//! shows overload, not an outage.
//!
//! A permanent failure is a success also over gRPC, where it includes `INTERNAL`, `UNKNOWN` and
//! `DATA_LOSS`. If a service reports its outages with such a code, give the layer a
//! [`classify`](BreakerLayer::classify). The guide of `buttress` shows in its chapter on errors how
//! to change one verdict and keep the others.
//!
//! A response counts at its head. If its body fails later, nothing is recorded: a call that waits
//! for the end of a long body could not decide as a probe, and its success would be dated after the
//! failures of calls that began later.
//!
//! # When the circuit opens
//!
//! After each recorded call, the circuit opens if any of these rules holds:
//!
//! - [`failures`](BreakerLayer::failures): the window holds the minimum of calls, and the share of
//!   failures is reached.
//! - [`consecutive`](BreakerLayer::consecutive): so many calls in a row failed, while the window
//!   holds fewer calls than the minimum, or the rule of the ratio is off.
//! - A run as long as the minimum and `consecutive`, for any number of calls in the window. So 20
//!   failures in a row open a busy circuit, not half a window of them.
//! - [`slow`](BreakerLayer::slow): the window holds the minimum of calls, and the share of slow
//!   calls is reached.
//!
//! The window forgets an outcome that is as old as the window, to within a thirty-second.
//! [`Circuit`](buttress_control::Circuit) describes the precision.
//!
//! # How the circuit recovers
//!
//! The circuit stays open for an interval, which grows with each opening in a row. If the outcome
//! that opened it was throttled with a delay, the interval is at least this delay, at most 60 s.
//!
//! Then the circuit is half-open: a fixed number of [`probes`](BreakerLayer::probes) pass and
//! decide, as early as the result is certain. A probe that is dropped or says nothing gives its
//! place back. A probe without an outcome after [`probe_patience`](BreakerLayer::probe_patience) has
//! failed.
//!
//! After the probes a [`ramp`](BreakerLayer::ramp) admits growing shares of the calls, drawn at
//! random, and always the first call of a stage. The rules apply to the outcomes since the first
//! probe. If one holds, the circuit opens again. After the last stage the circuit is closed.
//!
//! Each change of state, except that from ramp to closed, begins a generation. The outcome of a call
//! from an older generation changes nothing, and its caller gets the real response.
//!
//! A [spare](buttress_core::Attempt::spare) call passes a closed circuit only: it is no probe and no
//! part of a ramp. Its refusal is counted as [`spare_refused`](BreakerHandle::spare_refused).
//!
//! # Readiness
//!
//! `poll_ready` is the inner service's: an open circuit does not make the layer unready, and the
//! breaker never waits. The instance that was polled ready is the instance that is called. If a call
//! is rejected, the layer drops that instance with all it had reserved, and puts a clone in its
//! place. An error of `poll_ready` is passed on, and counts as nothing.
//!
//! # Errors
//!
//! The error type is the inner service's. A rejected call ends with a
//! [`Rejection`](buttress_core::Rejection): as an `Err` in `Plain` mode (the error must be
//! `From<Rejection>`), as a response in `Http` mode.
//!
//! | reason | when | HTTP | gRPC |
//! |---|---|---|---|
//! | `CircuitOpen` | the circuit does not admit the call | 503 | 14 |
//!
//! The rejection carries a retry delay: the time left of the interval, the time until the oldest
//! probe lapses (at most the first interval), or a stage of the ramp. The rejection of an isolated
//! circuit carries none. It has no source error: the event `breaker.opened` has the verdict that
//! opened the circuit.
//!
//! If the service panics, the call counts as a failure and the panic continues. If a classification
//! or a key panics, the call counts as nothing.
//!
//! # Cancellation
//!
//! Dropping the response future drops the call, and settles it as the table above says. Nothing is
//! spawned, and no timer runs: an interval that has ended shows with the next call.
//!
//! # Sharing
//!
//! Clones of a layer, and all services it makes, share their circuits. With
//! [`per_service`](BreakerLayer::per_service) each service has circuits of its own, which its clones
//! share, and the layer's own handle counts nothing. The options that set a rule,
//! [`keyed`](BreakerLayer::keyed), [`per`](BreakerLayer::per) and
//! [`max_keys`](BreakerLayer::max_keys) return a layer with fresh state. Clones and handles made
//! before keep the former state. Every other option changes this layer only, and keeps sharing the
//! circuits. [`set_rules`](BreakerHandle::set_rules) changes the rules of running circuits.
//!
//! If a layer is applied twice in a stack, each call counts twice. In axum, that is the case for a
//! handler with the layer on a route with the same layer.
//!
//! A successful call through a closed circuit is one atomic operation on the circuit and reads no
//! clock. Failures, every sixteenth success, and the calls of a circuit that recovers take a lock.
//! So do calls with a key. An open circuit rejects without a lock. No lock is held while an event is
//! emitted.
//!
//! # Events
//!
//! | level | event | fields |
//! |---|---|---|
//! | warn | `breaker.opened` | `instance`, `key`, `from`, `reason`, `verdict`, `open_for`, `calls`, `failures`, `slow` |
//! | info | `breaker.changed` | `instance`, `key`, `from`, `to`, `reason` |
//! | debug | `breaker.rejected` | `instance`, `retry_after`, `observed` |
//! | trace | `breaker.spare_refused` | `instance`, `retry_after`, `observed` |
//!
//! The `reason` of `breaker.opened` is `failures`, `consecutive`, `slow`, `probe`, `probe_lapsed`,
//! `ramp` or `hand`, and that of `breaker.changed` is `interval`, `probe`, `ramp_ended` or `hand`.
//! `calls`, `failures` and `slow` are the numbers of the window. `verdict` is that of the call that
//! opened the circuit, if it had an outcome. `key` is there if the key is a string or an integer.
//!
//! # Metrics
//!
//! A [`BreakerHandle`] is a [`Measure`](buttress_core::Measure) with these metrics. Each reading has
//! the name of the layer as its instance.
//!
//! | metric | kind | unit | label | description |
//! |---|---|---|---|---|
//! | `buttress.breaker.state` | gauge | `{circuit}` | `state` | Circuits in this state. |
//! | `buttress.breaker.opened` | counter | `{opening}` | – | Openings of a circuit, by its rules or by hand. |
//! | `buttress.breaker.rejected` | counter | `{call}` | – | Calls that were rejected, or would have been if the layer only observes. |
//! | `buttress.breaker.spare_refused` | counter | `{call}` | – | Spare calls, such as hedges, that were refused, or would have been if the layer only observes. |
//! | `buttress.breaker.window.calls` | gauge | `{call}` | – | Calls that were recorded in the window that ends now. |
//! | `buttress.breaker.window.failures` | gauge | `{call}` | – | Failures among the calls of the window. |
//! | `buttress.breaker.window.slow` | gauge | `{call}` | – | Slow calls among the calls of the window. |
//! | `buttress.breaker.keys` | gauge | `{key}` | – | Keys in use. |
//!
//! The label `state` is a [`CircuitState`], and each state has a reading. Without keys, the present
//! state has 1 and all others 0. With keys, `state` counts the circuits of the keys in use, and that
//! which all keys beyond the maximum share. Only then `keys` has a reading. No key is a label, because
//! each would be a time series.
//!
//! The layer counts the calls of the window, and forgets those before. So the admitted calls, and how
//! they end, have no counter.
//!
//! # Differences from the field
//!
//! - No policy for a window of abandoned calls only, as in seatbelt: `patience` judges each of them.
//! - No minimum rate, as in cockatiel: the minimum of calls in the window takes its place. Ratios of
//!   0 and above 1 have a meaning, and are not rejected.
//! - The mean duration of calls is not kept, as resilience4j does.
//!
//! # Defaults
//!
//! | option | default |
//! |---|---|
//! | [`failures`](BreakerLayer::failures) | 50 % of at least 20 calls |
//! | [`consecutive`](BreakerLayer::consecutive) | 5 |
//! | [`slow`](BreakerLayer::slow) | off |
//! | [`window`](BreakerLayer::window) | 10 s |
//! | [`open_for`](BreakerLayer::open_for) | exponential, 1 s to 10 s, equal jitter |
//! | [`probes`](BreakerLayer::probes) | 5, of which 3 must succeed |
//! | [`ramp`](BreakerLayer::ramp) | stages of 1 s that admit 10 %, 25 % and 50 % |
//! | [`patience`](BreakerLayer::patience) | off: the deadline decides |
//! | [`probe_patience`](BreakerLayer::probe_patience) | 30 s |
//! | [`classify`](BreakerLayer::classify) | the mode's |
//! | [`keyed`](BreakerLayer::keyed), [`per`](BreakerLayer::per) | one circuit for all calls |
//! | [`max_keys`](BreakerLayer::max_keys) | 65,536 |
//! | [`observe`](BreakerLayer::observe) | off: calls are rejected |
//! | [`per_service`](BreakerLayer::per_service) | off: all services share their circuits |
//! | [`named`](BreakerLayer::named) | `"breaker"` |
//! | [`seed`](BreakerLayer::seed) | random |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod circuits;
mod future;
mod handle;
mod isolation;
mod layer;
mod metrics;
mod outcome;
mod service;
mod settings;
mod ticket;

pub use buttress_control::{Backoff, CircuitCounts, CircuitRules, CircuitState, Jitter, Ratio};
pub use circuits::{CircuitOf, Circuits, KeyedCircuits, OneCircuit};
pub use future::ResponseFuture;
pub use handle::{BreakerHandle, BreakerSnapshot};
pub use isolation::Isolation;
pub use layer::BreakerLayer;
pub use service::Breaker;

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
