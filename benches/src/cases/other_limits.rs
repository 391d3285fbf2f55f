use std::{hint::black_box, time::Duration};

use tokio::time::Instant;
use tower::{
    Layer,
    limit::{ConcurrencyLimitLayer, RateLimitLayer},
    retry,
    timeout::TimeoutLayer,
};

use crate::{
    Acquire, Case, Echo, Pattern, Workload,
    cases::settings::{
        ATTEMPT, BudgetPolicy, PER_SECOND, PERMITS, SEMAPHORE, TIMEOUT, TOWER, semaphore,
    },
    drive_http, drive_plain,
};

/// The limits of tower, and limits written by hand with tokio. No call reaches a limit.
///
/// tower's rate limit is not `Clone` and counts in a field, so two handles cannot share a limit.
pub(crate) fn plain() -> [Case; 5] {
    [
        Case::new(Pattern::Clock, "tokio's `Instant`", Workload::Plain, |inner, calls| {
            let read = |_: &u64| Some(black_box(Instant::now()));
            drive_plain(Acquire::new(Echo(inner), read), calls)
        }),
        Case::new(Pattern::Concurrency, TOWER, Workload::Plain, |inner, calls| {
            drive_plain(ConcurrencyLimitLayer::new(PERMITS).layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Concurrency, SEMAPHORE, Workload::Plain, |inner, calls| {
            drive_plain(Acquire::new(Echo(inner), semaphore()), calls)
        }),
        Case::new(Pattern::Rate, TOWER, Workload::Plain, |inner, calls| {
            drive_plain(rate().layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::LimitedStack, TOWER, Workload::Plain, |inner, calls| {
            let attempt = TimeoutLayer::new(ATTEMPT).layer(Echo(inner));
            let limit = ConcurrencyLimitLayer::new(PERMITS).layer(attempt);
            let retry = retry::RetryLayer::new(BudgetPolicy::new()).layer(limit);
            drive_plain(TimeoutLayer::new(TIMEOUT).layer(retry), calls)
        }),
    ]
}

/// The same over HTTP. These limits release the permit at the response head.
pub(crate) fn http() -> [Case; 4] {
    [
        Case::new(Pattern::Concurrency, TOWER, Workload::Http, |inner, calls| {
            drive_http(ConcurrencyLimitLayer::new(PERMITS).layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Concurrency, SEMAPHORE, Workload::Http, |inner, calls| {
            drive_http(Acquire::new(Echo(inner), semaphore()), calls)
        }),
        Case::new(Pattern::Rate, TOWER, Workload::Http, |inner, calls| {
            drive_http(rate().layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::LimitedStack, TOWER, Workload::Http, |inner, calls| {
            let attempt = TimeoutLayer::new(ATTEMPT).layer(Echo(inner));
            let limit = ConcurrencyLimitLayer::new(PERMITS).layer(attempt);
            let retry = retry::RetryLayer::new(BudgetPolicy::new()).layer(limit);
            drive_http(TimeoutLayer::new(TIMEOUT).layer(retry), calls)
        }),
    ]
}

fn rate() -> RateLimitLayer {
    RateLimitLayer::new(u64::from(PER_SECOND), Duration::from_secs(1))
}
