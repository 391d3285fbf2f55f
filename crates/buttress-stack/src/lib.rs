//! Ready-made stacks of tower layers for clients and servers: the right layers in the right order,
//! named, checked, and changeable while calls run.
//!
//! ```
//! use buttress_core::BoxError;
//! use tower::{ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! // Deadline 30 s, 3 attempts, circuit breaker, 1000 calls at a time, 10 s per attempt.
//! let client = buttress_stack::client().named("payments");
//! let database = client.service(service_fn(|row: u32| async move { Ok::<_, BoxError>(row) }));
//! assert_eq!(database.oneshot(7).await.unwrap(), 7);
//! # }
//! ```
//!
//! # When to use it
//!
//! Use [`client`] around a client of another service: a connection, a tonic stub, a `reqwest` or
//! `hyper` client, a database. Use [`server`] around the handlers of a service. Over HTTP and gRPC,
//! finish the stack with `.http()` of `buttress-http`. Change a place where your service differs, and
//! leave the others as they are.
//!
//! Assemble layers by hand, with `tower::ServiceBuilder`, for an order that is not the standard one.
//!
//! # Places
//!
//! A stack has a fixed number of places, from the outside to the inside. The order of the builder's
//! calls makes no difference, so a wrong order cannot be written.
//!
//! | place of [`Client`] | takes | standard |
//! |---|---|---|
//! | [`fallback`](Client::fallback) | [`FallbackLayer`] | [`Off`] |
//! | [`deadline`](Client::deadline) | [`DeadlineLayer`] | 30 s, the body included |
//! | [`dedup`](Client::dedup) | [`DedupLayer`] | [`Off`] |
//! | [`order`](Client::order) | [`OrderLayer`] | [`Off`] |
//! | [`retry`](Client::retry) | [`RetryLayer`] | 3 attempts, 1 s to 10 s apart |
//! | [`hedge`](Client::hedge) | [`HedgeLayer`] | [`Off`] |
//! | [`breaker`](Client::breaker) | [`BreakerLayer`] | 50 % of 20 calls in 30 s |
//! | [`throttle`](Client::throttle) | [`ThrottleLayer`] | 1000 calls at a time, no queue |
//! | [`attempt`](Client::attempt) | [`DeadlineLayer`] | 10 s for each attempt |
//!
//! | place of [`Server`] | takes | standard |
//! |---|---|---|
//! | [`deadline`](Server::deadline) | [`DeadlineLayer`] | 30 s, the body included |
//! | [`order`](Server::order) | [`OrderLayer`] | [`Off`] |
//! | [`throttle`](Server::throttle) | [`ThrottleLayer`] | 1000 calls at a time, no queue |
//!
//! Each place `x` has three methods. `x(layer)` replaces its layer, `edit_x(|layer| ..)` changes it,
//! and `without_x()` empties it. A place takes a layer of its own pattern, [`Off`], or a foreign layer
//! as [`Custom`]. An empty place costs a call nothing.
//!
//! # Presets
//!
//! | preset | follows | what differs from [`client`] |
//! |---|---|---|
//! | [`client_for_http`] | .NET's `AddStandardResilienceHandler` | 4 attempts from 2 s, breaker at 10 % of 100 calls, open for 5 s |
//! | [`client_for_grpc`] | gRPC, proposal A6 | 5 attempts, 100 ms to 1 s apart, gRPC's retry throttle as the budget |
//! | [`client_for_aws`] | the AWS SDKs' standard retries, version 2.1 | retries from 50 ms to 20 s apart, a bucket of 500 tokens as the budget |
//!
//! # Names
//!
//! Each layer is named after its stack and its place, such as `payments.retry` and
//! `payments.attempt`. So the two deadlines of a client differ in rejections, events and metrics. The
//! name of a stack is `client` or `server` unless [`named`](Client::named) sets another. The name that
//! a layer had before is replaced.
//!
//! # The budget
//!
//! Retry and hedge draw on one budget: that of the retry. So a slow service meets no more than the
//! retry's budget in further attempts and hedges together. [`budget`](Client::budget) replaces it for
//! both. A hedge that [shares](HedgeLayer::share) another budget keeps that one.
//!
//! # What cannot be written
//!
//! | mistake | instead |
//! |---|---|
//! | a retry inside the breaker, dedup inside the retry, and any other order | a place has one position |
//! | a second retry, or a layer in the place of another pattern | does not compile, with the reason |
//! | a cache in [`Plain`](buttress_core::Plain) mode without a key | does not compile: requests that are equal share a key, so they must be `Hash + Eq` |
//! | a hedge with a budget apart from the retry's | the stack gives the retry's to the hedge |
//!
//! A layer in [`Custom`] is not checked, nor is a stack around a stack.
//!
//! # Misfits
//!
//! The type checks the order, and [`misfits`](Client::misfits) checks the numbers. A [`Misfit`] names
//! the settings and the remedy.
//!
//! | settings | misfit |
//! |---|---|
//! | `attempt.timeout`, `deadline.timeout` | an attempt may last longer than the whole call |
//! | `breaker.window`, `attempt.timeout` | the window is shorter than two attempts |
//! | `breaker.slow.limit`, `attempt.timeout` | no call lasts until it is slow |
//! | `breaker.probe_patience`, `attempt.timeout` | a probe fails while its attempt may run |
//! | `breaker`, `attempt.timeout` | the [patience](BreakerLayer::patience) of the breaker exceeds an attempt |
//! | `breaker.needed`, `breaker.probes` | more successes are needed than there are probes |
//! | `breaker.slow.limit`, `breaker.slow.ratio` | one of the two is missing |
//! | `retry.backoff`, `breaker.open_for` | the first delay is longer than the longest |
//! | `retry.backoff.base`, `deadline.timeout` | the first wait takes the whole call |
//! | `hedge.after` or `hedge.least`, `attempt.timeout` | a hedge comes when the attempt has ended |
//! | `hedge.after`, `hedge.quantile` | the delay is both fixed and learned |
//! | `hedge`, `retry` | the hedge's budget exceeds the retry's |
//! | `concurrency.max_wait` or `rate.max_wait`, `deadline.timeout` | a call may wait until its deadline |
//! | `rate.fleet.replicas` | fewer than 2 replicas keep a rate together |
//! | `rate.fleet.lease` | a quarter of the lease is shorter than the time limit of the store |
//! | `rate.fleet`, `rate.calls` | each call asks the store, at more than 1,000 calls a second |
//! | `cache.fleet.max_wait`, `deadline.timeout` | a call may wait for another replica until its deadline |
//! | any time, number or share | zero where zero lets nothing through, or more than a layer uses |
//!
//! The stack serves calls in spite of its misfits. A configuration with a misfit is refused.
//!
//! # Configuration
//!
//! [`ClientConfig`] and [`ServerConfig`] hold the settings that can change while calls run. With the
//! feature `serde` they are read from TOML, YAML or JSON. [`ClientHandle::apply`] changes a running
//! client, all or nothing. The guide of `buttress` has a chapter on it.
//!
//! The store of a [`Fleet`](buttress_throttle::Fleet) is given in the program, with `.fleet(..)` on the
//! throttle. The section `rate.fleet` holds its other options. Likewise, `cache.fleet` holds options of
//! a [`SharedCache`](buttress_dedup::SharedCache), which is given to the dedup. A section for a layer
//! without a store is refused.
//!
//! # Readiness
//!
//! The stack is ready when its layers are: `poll_ready` goes from place to place, as if the layers were
//! assembled by hand. A dedup in its place is always ready.
//!
//! # Errors
//!
//! The error type is the inner service's. A rejection says which layer rejected, by its name. Over HTTP
//! a rejection is a response.
//!
//! # Cancellation
//!
//! Dropping the response future drops the work of all layers, and gives back permits, turns and unused
//! payments.
//!
//! # Sharing
//!
//! Clones of a stack, and all services that it makes, share the state of each layer: one circuit, one
//! limit, one budget. A stack is `Clone + Send + Sync` if its layers are.
//!
//! A stack that is made from a clone by another layer in a place shares the other layers, and their
//! settings, with the clone.
//!
//! A layer that is `per_service` has a state of its own in each service. The handle of the stack shows
//! none of its numbers, and changes its settings for the services that are made later.
//!
//! # Events
//!
//! | level | event | fields |
//! |---|---|---|
//! | warn | `stack.misfit`: the first service of a stack with misfits was made under this name. Each stack reports for at most 1,024 names | `instance`, the name of the stack; `misfits`, one in each line |
//!
//! All other events are those of the layers.
//!
//! # Defaults
//!
//! | option | default |
//! |---|---|
//! | [`named`](Client::named) | `"client"`, `"server"` |
//! | [`seed`](Client::seed) | random |
//! | [`budget`](Client::budget) | the retry's own: 20 % of the calls plus 10 per second, over 10 s |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod client;
mod config;
mod handle;
mod misfit;
mod place;
mod server;
mod setup;
#[cfg(feature = "serde")]
mod text;

#[doc(no_inline)]
pub use buttress_breaker::BreakerLayer;
#[doc(no_inline)]
pub use buttress_deadline::DeadlineLayer;
#[doc(no_inline)]
pub use buttress_dedup::DedupLayer;
#[doc(no_inline)]
pub use buttress_fallback::FallbackLayer;
#[doc(no_inline)]
pub use buttress_hedge::HedgeLayer;
#[doc(no_inline)]
pub use buttress_order::OrderLayer;
#[doc(no_inline)]
pub use buttress_retry::{Budget, RetryLayer};
#[doc(no_inline)]
pub use buttress_throttle::ThrottleLayer;

pub use client::{Client, client, client_for_aws, client_for_grpc, client_for_http};
pub use config::{
    BackoffConfig, BreakerConfig, CacheConfig, ClientConfig, ConcurrencyConfig, DeadlineConfig,
    FleetConfig, HedgeConfig, RampConfig, RateConfig, RetryConfig, ServerConfig, SharedCacheConfig,
    SlowConfig,
};
pub use handle::{ClientHandle, ServerHandle};
pub use misfit::{Misfit, Misfits};
pub use place::{
    AttemptPlace, BreakerPlace, Custom, DeadlinePlace, DedupPlace, FallbackPlace, HedgePlace, Off,
    OrderPlace, RetryPlace, ThrottlePlace,
};
pub use server::{Server, server};

/// Runs the example in the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
