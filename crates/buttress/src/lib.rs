//! Timeouts, retries, circuit breakers, hedging, fallbacks, rate and concurrency limits, request
//! coalescing and caching as tower layers, for axum, tonic, hyper and reqwest.
//!
//! ```
//! use std::time::Duration;
//! use buttress::{BoxError, BreakerLayer, DeadlineLayer, DedupLayer, RetryLayer, ThrottleLayer};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let client = ServiceBuilder::new()
//!     .layer(DeadlineLayer::new(Duration::from_secs(2))) // the caller's patience
//!     .layer(DedupLayer::new())
//!     .layer(RetryLayer::new(3))
//!     .layer(BreakerLayer::new())
//!     .layer(ThrottleLayer::concurrency(32).queue(100))
//!     .layer(DeadlineLayer::new(Duration::from_millis(500))) // one attempt
//!     .service_fn(|row: u32| async move { Ok::<_, BoxError>(row) });
//! assert_eq!(client.oneshot(7).await.unwrap(), 7);
//! # }
//! ```
//!
//! # Patterns
//!
//! | pattern | layer | also known as |
//! |---|---|---|
//! | deadline | [`DeadlineLayer::new`], [`DeadlineLayer::propagate`] | timeout, time limit |
//! | retry | [`RetryLayer::new`] | retry budget, backoff |
//! | hedging | [`HedgeLayer::learned`], [`HedgeLayer::after`] | speculative or backup request, tail latency |
//! | circuit breaker | [`BreakerLayer::new`], [`BreakerLayer::per`] | outlier detection, per host |
//! | fallback | [`FallbackLayer::value`], [`FallbackLayer::answer`], [`FallbackLayer::service`] | graceful degradation |
//! | concurrency limit | [`ThrottleLayer::concurrency`] | bulkhead, semaphore |
//! | rate limit | [`ThrottleLayer::rate`], [`ThrottleLayer::rates`] | rate limiter, GCRA |
//! | adaptive limit | [`ThrottleLayer::adaptive`] | load shedding |
//! | client-side throttling | [`ThrottleLayer::accept_ratio`] | adaptive throttling |
//! | limit per key | [`ThrottleLayer::keyed`], [`ThrottleLayer::per`] | per tenant, per host |
//! | order per key | [`OrderLayer::serial`], [`OrderLayer::latest`] | mutex per key, switch-latest |
//! | coalescing | [`DedupLayer::new`], [`DedupLayer::keyed`] | single flight |
//! | cache | [`DedupLayer::cache`] with a [`Cache`] | stale-while-revalidate |
//! | rate of all replicas | `.fleet(Fleet::new(redis.quotas(), n))` on a rate | distributed rate limit |
//! | cache of all replicas | `.store(SharedCache::new(redis.flights(), codec))` on a [`Cache`] | distributed cache |
//!
//! # HTTP and gRPC
//!
//! `.http()` from [`HttpExt`] makes a layer answer in HTTP or gRPC, and leaves the service's error type
//! unchanged. The features `axum`, `tonic`, `hyper` and `reqwest` add support for their bodies and
//! errors. A service without HTTP does not need the feature `http`: set `default-features = false`.
//!
//! # Where to read on
//!
//! The [`guide`] has a chapter per question: which layer, in which order, with which errors. The docs
//! of [`breaker`], [`deadline`], [`dedup`], [`fallback`], [`hedge`], [`order`], [`retry`] and
//! [`throttle`] state the promises of each layer, under the same headings. The docs of [`http_grpc`]
//! have the rules for HTTP. [`layer_api`] has the traits for a mode or a layer of your own, and
//! [`throttle`] has `Adapt` for an adaptive law of your own.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "breaker")]
pub use buttress_breaker::{
    BreakerHandle, BreakerLayer, BreakerSnapshot, CircuitCounts, CircuitRules, CircuitState,
    Isolation,
};
pub use buttress_core::{
    Attempt, BoxError, Check, Classify, Criticality, Deadline, Origin, Plain, Reason, Rejection,
    RetryHint, Verdict,
};
#[cfg(feature = "deadline")]
pub use buttress_deadline::{DeadlineHandle, DeadlineLayer, DeadlineSnapshot};
#[cfg(feature = "shared-cache")]
pub use buttress_dedup::SharedCache;
#[cfg(feature = "dedup")]
pub use buttress_dedup::{Cache, DedupHandle, DedupLayer, DedupSnapshot, EarlyRefresh};
#[cfg(feature = "fallback")]
pub use buttress_fallback::{Degraded, FallbackHandle, FallbackLayer, FallbackSnapshot, Source};
#[cfg(feature = "hedge")]
pub use buttress_hedge::{HedgeHandle, HedgeLayer, HedgeSnapshot, WithheldReason};
#[cfg(feature = "http")]
pub use buttress_http::{Authority, Http, HttpExt, Idempotent};
#[cfg(feature = "metrics")]
pub use buttress_metrics::MetricsSink;
#[cfg(feature = "opentelemetry")]
pub use buttress_metrics::OpenTelemetrySink;
#[cfg(any(feature = "metrics", feature = "opentelemetry"))]
pub use buttress_metrics::{MeterHandle, MeterLayer, Registry};
#[cfg(feature = "order")]
pub use buttress_order::{OrderHandle, OrderLayer, OrderSnapshot};
#[cfg(feature = "redis")]
pub use buttress_redis::Redis;
#[cfg(feature = "retry")]
pub use buttress_retry::{
    Backoff, Budget, Jitter, Ratio, RetryHandle, RetryLayer, RetrySnapshot, RetryThrottle,
    StopReason, TokenBucket,
};
#[cfg(feature = "stack")]
pub use buttress_stack::{
    Client, ClientConfig, ClientHandle, Custom, Misfit, Misfits, Off, Server, ServerConfig,
    ServerHandle, client, client_for_aws, client_for_grpc, client_for_http, server,
};
#[cfg(all(feature = "throttle", not(feature = "retry")))]
pub use buttress_throttle::Ratio;
#[cfg(feature = "throttle")]
pub use buttress_throttle::{
    AcceptRatio, Aimd, Codel, Fleet, Gradient, Gradient2, Queue, Rate, Rates, Slack,
    ThrottleHandle, ThrottleLayer, ThrottleSnapshot, Trend, Vegas, WithoutStore,
};

#[cfg(feature = "breaker")]
pub use buttress_breaker as breaker;
/// The traits that a layer is bound by and the values they pass, for modes and layers of your own.
pub use buttress_core as layer_api;
#[cfg(feature = "deadline")]
pub use buttress_deadline as deadline;
#[cfg(feature = "dedup")]
pub use buttress_dedup as dedup;
#[cfg(feature = "fallback")]
pub use buttress_fallback as fallback;
#[cfg(feature = "hedge")]
pub use buttress_hedge as hedge;
#[cfg(feature = "http")]
pub use buttress_http as http_grpc;
#[cfg(any(feature = "metrics", feature = "opentelemetry"))]
pub use buttress_metrics as observability;
#[cfg(feature = "order")]
pub use buttress_order as order;
#[cfg(feature = "redis")]
pub use buttress_redis as shared_store;
#[cfg(feature = "retry")]
pub use buttress_retry as retry;
#[cfg(feature = "stack")]
pub use buttress_stack as stack;
#[cfg(feature = "throttle")]
pub use buttress_throttle as throttle;

// Only for documentation: a glob import of this crate brings in no module of that name.
#[cfg(doc)]
pub mod guide;

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
