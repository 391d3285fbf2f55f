//! Hedged requests (backup requests) with a budget, against slow responses, as a tower layer.
//!
//! ```
//! use std::time::Duration;
//! use buttress_core::{Attempt, BoxError};
//! use buttress_hedge::{Budget, HedgeLayer};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let layer = HedgeLayer::after(Duration::from_millis(50)).budget(Budget::unlimited());
//! let handle = layer.handle();
//! let replicas = ServiceBuilder::new().layer(layer).service_fn(|row: u32| async move {
//!     let is_slow = !Attempt::current().is_spare();
//!     tokio::time::sleep(Duration::from_millis(if is_slow { 900 } else { 5 })).await;
//!     Ok::<_, BoxError>(row)
//! });
//! assert_eq!(replicas.oneshot(7).await.unwrap(), 7); // after 55 ms
//! assert_eq!(handle.won(), 1);
//! # }
//! ```
//!
//! # When to use it
//!
//! Use the layer around a client of a service whose slowest calls take many times the median, for a
//! reason that does not strike a second copy of the call: a pause of one replica, a lost packet, a
//! cold cache. Place the layer inside the retry and outside the circuit breaker and the throttle:
//! deadline → retry → hedge → breaker → throttle → transport. Give the layer the retry's budget too:
//! `HedgeLayer::learned().share(retry.handle().budget().clone())`.
//!
//! Do not use it for calls that must not be made twice, or for a service that is slow because of
//! load: the [budget](HedgeLayer::budget) then stops most hedges, and the others are wasted. A
//! hedge against a single server that computes every response equally slowly gains nothing.
//!
//! # When a hedge is sent
//!
//! The first try goes to the service as without the layer. If it ends before the delay, the layer
//! returns its outcome, failure or not, because repeating a fast failure is the job of the retry.
//! After the delay the layer sends the same request again, and after each hedge the next is due one
//! delay later, up to [`at_most`](HedgeLayer::at_most).
//!
//! | the delay | counts from |
//! |---|---|
//! | [`after`](HedgeLayer::after): fixed | the first poll that finds the call pending |
//! | [`learned`](HedgeLayer::learned), [`at`](HedgeLayer::at): a quantile of the latency | the call |
//!
//! A hedge is withheld for one of these reasons. [`WithheldReason`] says which. The call then waits for
//! the tries under way, and sends no further hedge.
//!
//! | | reason | [`WithheldReason`] |
//! |--:|---|---|
//! | 1 | The request was not kept, because its body is too long | `NotReplayable` |
//! | 2 | The request may be harmful if sent twice, and no response says that it was not processed | `NotIdempotent` |
//! | 3 | The deadline passes before the hedge would be sent | `Deadline` |
//! | 4 | The request cannot be sent again *now*: a try still reads its body, or has read too much | `NotReplayable` |
//! | 5 | No time would be left to announce | `Deadline` |
//! | 6 | The layer's own budget is empty | `BudgetEmpty` |
//! | 7 | The shared budget is empty | `SharedBudgetEmpty` |
//! | 8 | A try was throttled, and the service named no time that fits | `Throttled` |
//!
//! A call that is itself a hedge of an outer layer ([`Attempt::is_spare`]) is not hedged again.
//!
//! # Which outcome is returned
//!
//! Verdicts `Success` and `Permanent` win at once, from any try, because they are the service's own
//! answer. No other outcome wins. If all tries fail, the layer returns the outcome of the first try,
//! whichever failed first.
//!
//! A failure does not send a hedge. With [`after_failures`](HedgeLayer::after_failures) a failure
//! sends the next hedge at once, as gRPC does (gRFC A6).
//!
//! The response ends the call at its head. A body that streams is read from the try that won. So a
//! streaming call of tonic is hedged until its response head, if the request is complete by then. A
//! request stream that goes on is not hedged.
//!
//! # Server hints
//!
//! If a try is throttled and the service names a time, the next hedge is sent exactly then, and the
//! later hedges one delay apart from there. A negative pushback of gRPC, or a throttled outcome
//! without a time, ends the hedging. So does a time after the deadline, or of more than 60 s if there
//! is no deadline.
//!
//! # Layers below
//!
//! A hedge runs as [`Attempt::next`] and [`Attempt::spare`], and its request carries the deadline
//! written again. The layers below admit a spare call only if there is room now: a full limit refuses
//! the hedge at once, and a circuit that is not closed never takes the hedge for a probe. Such a
//! refusal ends the hedging of the call, is counted as [`refused`](HedgeHandle::refused), and is a
//! failure of nothing. Its payment goes back.
//!
//! Over gRPC a hedge announces the earlier tries in `grpc-previous-rpc-attempts`.
//!
//! # The learned delay
//!
//! Until the first quantile is known, all calls are timed and none is hedged. That takes 3 s and 50
//! samples. From then on about one call in eight is timed, spread evenly over calls that come in a
//! fixed order. The law is [`Latencies`](buttress_control::Latencies): the quantile is at most an
//! eighth too long, and changes at most every 3 s.
//!
//! A sample is the latency of a first try that won, with the time that the call waited in a queue
//! below the hedge, such as that of a throttle. If a hedge overtakes the first try, the sample is
//! the time until then. Otherwise the quantile would fall as the layer hedges more. Failures and
//! hedges are no samples.
//!
//! # Readiness
//!
//! `poll_ready` is the inner service's. The first try goes to the instance that was ready. Hedges go
//! to a clone, whose readiness the response future polls beside the other tries. One hedge waits at a
//! time. If the wait ends because another try wins, the payment goes back. If readiness fails, the
//! hedge is lost, and the failure never wins.
//!
//! With [`after_failures`](HedgeLayer::after_failures), a call may wait for the readiness of
//! its hedge after all tries have failed. The wait ends at the deadline, or after 60 s if there is no
//! deadline. The call then returns the outcome of its first try.
//!
//! # Errors
//!
//! The error type is the inner service's, and every error comes from the inner service. The layer
//! rejects nothing.
//!
//! # Cancellation
//!
//! Dropping the response future drops all tries, the timer and the places in queues at once. The
//! layer spawns nothing. When a try wins, the others are dropped in the same poll, before the outcome
//! is returned. For the layers below, that is a caller who left before the deadline: neither a failure
//! nor a sample, and permits return.
//!
//! A payment goes back if the hedge is not sent. The payment of a hedge that was sent stays.
//!
//! If a try panics, the panic passes on. The other tries are dropped with the response future.
//!
//! # Sharing
//!
//! Clones of a layer and all its services share the rule, the most hedges, the budgets, the counters
//! and the learned latency. With [`per_service`](HedgeLayer::per_service), each service has all of
//! these of its own, except budgets that were given.
//!
//! [`HedgeHandle::set_rule`] and [`HedgeHandle::set_at_most`] change the layer while calls run, also
//! for services made before. A running call keeps the time of the hedge that it waits for, and asks
//! for the number when that hedge is due.
//!
//! The layer's own [`Budget`] earns its ratio from each call, and none from the attempts of an outer
//! retry after the first. Each attempt may be hedged and pays again. So three attempts with a hedge
//! each make at most `calls · (1 + 20 % + 5 %)` calls, plus the retries per second of the retry's
//! budget. A [shared](HedgeLayer::share) budget earns nothing from this layer.
//!
//! # Events
//!
//! | level | event | fields |
//! |---|---|---|
//! | debug | `hedge.sent` | `instance`, `attempt` from 2, `after` the delay began, `observed` |
//! | debug | `hedge.withheld` | `instance`, `reason` ([`WithheldReason`]) |
//! | trace | `hedge.won` | `instance`, `attempt` |
//!
//! # Metrics
//!
//! A [`HedgeHandle`] is a [`Measure`](buttress_core::Measure) with these metrics. Each reading has
//! the name of the layer as its instance.
//!
//! | metric | kind | unit | label | description |
//! |---|---|---|---|---|
//! | `buttress.hedge.calls` | counter | `{call}` | – | Calls. Their hedges are not among them. |
//! | `buttress.hedge.sent` | counter | `{hedge}` | – | Hedges that were sent, or would be if the layer only observes. |
//! | `buttress.hedge.won` | counter | `{hedge}` | – | Hedges whose outcome their call returned. |
//! | `buttress.hedge.refused` | counter | `{hedge}` | – | Sent hedges that a layer below refused. |
//! | `buttress.hedge.withheld` | counter | `{call}` | `reason` | Calls whose hedge was not sent. |
//! | `buttress.hedge.delay` | gauge | `s` | – | Delay after which a call is hedged now. |
//! | `buttress.hedge.budget` | gauge | `{token}` | – | Balance of the budget that pays for the hedges. |
//!
//! The label `reason` is a [`WithheldReason`], and every reason has a reading. A delay that is not
//! known, and an unlimited budget, have no reading. The layer does not count the hedges that lose,
//! nor the ends of calls: those of `sent` that are neither `won` nor `refused` lost, run, or were
//! dropped with their call.
//!
//! # Defaults
//!
//! | option | default |
//! |---|---|
//! | [`learned`](HedgeLayer::learned) | the 95 % quantile, at least 10 ms |
//! | [`at_most`](HedgeLayer::at_most) | 1 hedge for each call |
//! | [`budget`](HedgeLayer::budget) | 5 % of the calls of the last 10 s, so none for fewer than 20 |
//! | [`share`](HedgeLayer::share) | no second budget |
//! | [`after_failures`](HedgeLayer::after_failures) | off: a failure sends no hedge |
//! | [`skip`](HedgeLayer::skip) | no request |
//! | [`classify`](HedgeLayer::classify) | the mode's |
//! | [`observe`](HedgeLayer::observe) | off: hedges are sent |
//! | [`per_service`](HedgeLayer::per_service) | off: all services share counters and the latency |
//! | [`named`](HedgeLayer::named) | `"hedge"` |
//!
//! [`Attempt::is_spare`]: buttress_core::Attempt::is_spare
//! [`Attempt::next`]: buttress_core::Attempt::next
//! [`Attempt::spare`]: buttress_core::Attempt::spare

#![cfg_attr(docsrs, feature(doc_cfg))]

mod call;
mod future;
mod handle;
mod layer;
mod metrics;
mod payment;
mod service;
mod settings;
mod skip;
mod state;
mod withheld;

pub use buttress_control::Ratio;
pub use buttress_state::Budget;
pub use future::ResponseFuture;
pub use handle::{HedgeHandle, HedgeSnapshot};
pub use layer::HedgeLayer;
pub use service::Hedge;
pub use skip::{Skip, SkipNone};
pub use state::HedgeRule;
pub use withheld::{WithheldCounts, WithheldReason};

/// Runs the example in the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
