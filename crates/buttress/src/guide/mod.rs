//! The guide: one chapter per question.
//!
//! | chapter | answers |
//! |---|---|
//! | [`choosing`] | which layer helps against which failure |
//! | [`layers`] | how layers share state, what an option changes, where a layer goes in axum |
//! | [`order`] | in which order layers stand, and what breaks in another order |
//! | [`stacks`] | the standard layers with one call, settings from a file, changes while calls run |
//! | [`deadlines`] | how a deadline reaches attempts, tasks, bodies and other processes |
//! | [`retries`] | which calls are repeated, when, and who pays |
//! | [`limits`] | which limit to take, and what a queue does |
//! | [`outages`] | circuit breakers and fallbacks: states, what counts, recovery, answers |
//! | [`hedging`] | when to send a second copy of a slow request, and who pays |
//! | [`caching`] | keys, coalescing, TTL, stale windows, invalidation |
//! | [`fleet`] | rates, a cache and single flight that all replicas share |
//! | [`ordering`] | one call at a time per key, in order or latest wins |
//! | [`errors`] | modes, rejections, verdicts, panics |
//! | [`observability`] | metrics for Prometheus and OpenTelemetry, dashboards, events |
//! | [`testing`] | how to test a stack and a layer without real time |
//! | [`simulating`] | how to test a stack against an outage, with seeds, in virtual time |
//! | [`writing_a_layer`] | a circuit breaker, step by step |
//! | [`naming_types`] | how to write the type of a stack |
//! | [`migrating`] | the same options in other crates |
//!
//! Each layer's crate docs list its promises under the same headings: Readiness, Errors, Cancellation,
//! Sharing, Events, Defaults.

#[doc = include_str!("choosing.md")]
pub mod choosing {}

#[doc = include_str!("layers.md")]
pub mod layers {}

#[doc = include_str!("order.md")]
pub mod order {}

#[doc = include_str!("stacks.md")]
pub mod stacks {}

#[doc = include_str!("deadlines.md")]
pub mod deadlines {}

#[doc = include_str!("retries.md")]
pub mod retries {}

#[doc = include_str!("limits.md")]
pub mod limits {}

#[doc = include_str!("outages.md")]
pub mod outages {}

#[doc = include_str!("hedging.md")]
pub mod hedging {}

#[doc = include_str!("caching.md")]
pub mod caching {}

#[cfg_attr(all(feature = "http", feature = "redis", feature = "stack"), doc = include_str!("fleet.md"))]
#[cfg_attr(
    not(all(feature = "http", feature = "redis", feature = "stack")),
    doc = "Rates and caches of a fleet. Build the docs with the feature `redis`."
)]
pub mod fleet {}

#[doc = include_str!("ordering.md")]
pub mod ordering {}

#[doc = include_str!("errors.md")]
pub mod errors {}

#[cfg_attr(all(feature = "metrics", feature = "opentelemetry"), doc = include_str!("observability.md"))]
#[cfg_attr(
    not(all(feature = "metrics", feature = "opentelemetry")),
    doc = "Metrics and events. Build the docs with the features `metrics` and `opentelemetry`."
)]
pub mod observability {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("simulating.md")]
pub mod simulating {}

#[doc = include_str!("writing_a_layer.md")]
/// # The code
///
/// ```
#[doc = include_str!("breaker.rs")]
/// ```
pub mod writing_a_layer {}

#[doc = include_str!("naming_types.md")]
pub mod naming_types {}

#[doc = include_str!("migrating.md")]
pub mod migrating {}
