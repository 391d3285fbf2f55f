use std::{sync::Arc, time::Duration};

use buttress_benches::{Case, Echo, LimitContention, Pattern, SourceError, Workload, drive_plain};
use tower::{BoxError, Layer, ServiceExt};
use tower_resilience_adaptive::{AdaptiveLimiterLayer, Vegas};
use tower_resilience_bulkhead::BulkheadLayer;
use tower_resilience_circuitbreaker::{CircuitBreakerLayer, DefaultClassifier};
use tower_resilience_fallback::FallbackLayer;
use tower_resilience_hedge::HedgeLayer;
use tower_resilience_ratelimiter::RateLimiterLayer;
use tower_resilience_retry::{RetryBudget, RetryBudgetBuilder, RetryLayer};
use tower_resilience_timelimiter::TimeLimiterLayer;

use crate::{ATTEMPTS, IN_FLIGHT, PER_SECOND, TIMEOUT};

pub(crate) fn cases() -> [Case; 9] {
    [
        Case::new(Pattern::Deadline, PROVIDER, Workload::Plain, |inner, calls| {
            let layer = TimeLimiterLayer::builder().timeout_duration(TIMEOUT).build();
            drive_plain(layer.layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Retry, PROVIDER, Workload::Plain, |inner, calls| {
            let layer = RetryLayer::<u64, u64, BoxError>::builder()
                .max_attempts(ATTEMPTS)
                .exponential_backoff(Duration::from_secs(1))
                .budget(budget())
                .build();
            drive_plain(layer.layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Concurrency, PROVIDER, Workload::Plain, |inner, calls| {
            drive_plain(bulkhead().layer(Echo(inner)), calls)
        }),
        Case::new(
            Pattern::Rate,
            "tower-resilience 0.13, fixed window",
            Workload::Plain,
            |inner, calls| drive_plain(fixed_window().layer(Echo(inner)), calls),
        ),
        Case::new(
            Pattern::Rate,
            "tower-resilience 0.13, token bucket",
            Workload::Plain,
            |inner, calls| drive_plain(token_bucket().layer(Echo(inner)), calls),
        ),
        Case::new(Pattern::Adaptive, PROVIDER, Workload::Plain, |inner, calls| {
            drive_plain(adaptive().layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Breaker, "tower-resilience 0.14", Workload::Plain, |inner, calls| {
            drive_plain(circuit_breaker().layer(Echo(inner)), calls)
        }),
        // This layer asks for an error that is `Clone`.
        Case::new(
            Pattern::Hedge,
            "tower-resilience 0.14, over `map_err`",
            Workload::Plain,
            |inner, calls| {
                let inner = ServiceExt::<u64>::map_err(Echo(inner), |_| SourceError);
                drive_plain(HedgeLayer::builder().delay(TIMEOUT).build().layer(inner), calls)
            },
        ),
        Case::new(Pattern::Fallback, "tower-resilience 0.14", Workload::Plain, |inner, calls| {
            drive_plain(FallbackLayer::<u64, u64, BoxError>::value(0).layer(Echo(inner)), calls)
        }),
    ]
}

pub(crate) fn limit_contention() -> [LimitContention; 4] {
    [
        LimitContention::new(format!("concurrency, {PROVIDER}"), |worker| bulkhead().layer(worker)),
        LimitContention::new(format!("rate, {PROVIDER}, fixed window"), |worker| {
            fixed_window().layer(worker)
        }),
        LimitContention::new(format!("rate, {PROVIDER}, token bucket"), |worker| {
            token_bucket().layer(worker)
        }),
        LimitContention::new(format!("adaptive, {PROVIDER}"), |worker| adaptive().layer(worker)),
    ]
}

#[expect(clippy::expect_used, reason = "its defaults are valid")]
fn budget() -> Arc<dyn RetryBudget> {
    RetryBudgetBuilder::new().token_bucket().build().expect("the defaults are valid")
}

#[expect(clippy::expect_used, reason = "the limit is valid")]
fn bulkhead() -> BulkheadLayer {
    let builder = BulkheadLayer::builder().max_concurrent_calls(IN_FLIGHT).reject_when_full();
    builder.build().expect("the limit is valid")
}

#[expect(clippy::expect_used, reason = "the rate is valid")]
fn fixed_window() -> RateLimiterLayer {
    RateLimiterLayer::per_second(PER_SECOND).build().expect("the rate is valid")
}

#[expect(clippy::expect_used, reason = "the rate is valid")]
fn token_bucket() -> RateLimiterLayer {
    RateLimiterLayer::burst(PER_SECOND, PER_SECOND).build().expect("the rate is valid")
}

#[expect(clippy::expect_used, reason = "its defaults are valid")]
fn circuit_breaker() -> CircuitBreakerLayer<DefaultClassifier> {
    CircuitBreakerLayer::builder().build().expect("the defaults are valid")
}

/// The service of this layer takes a sample of every call.
#[expect(clippy::expect_used, reason = "the limits are valid")]
fn adaptive() -> AdaptiveLimiterLayer<Vegas> {
    let builder = Vegas::builder().initial_limit(IN_FLIGHT).min_limit(IN_FLIGHT);
    let law = builder.max_limit(IN_FLIGHT).build().expect("the limits are valid");
    AdaptiveLimiterLayer::new(law)
}

const PROVIDER: &str = "tower-resilience 0.13";
