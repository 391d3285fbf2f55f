use std::{hint::black_box, time::Duration};

use tokio::time::Instant;
use tower::{
    Layer,
    limit::{ConcurrencyLimitLayer, RateLimitLayer},
    retry,
    timeout::TimeoutLayer,
};

use crate::{
    Base, ByHand, Case, Echo, Pattern,
    cases::settings::{
        ATTEMPT, Budgeted, PER_SECOND, PERMITS, SEMAPHORE, TIMEOUT, TOWER, semaphore,
    },
    drive_http, drive_plain,
};

/// Limits as tower has them, and as one writes them with what tokio has. None is ever met.
///
/// Tower's rate limit is not `Clone`, and counts in a field: no two handles can share one.
pub(crate) fn plain() -> [Case; 5] {
    [
        Case::new(Pattern::Clock, "tokio's `Instant`", Base::Plain, |inner, calls| {
            let read = |_: &u64| Some(black_box(Instant::now()));
            drive_plain(ByHand::new(Echo(inner), read), calls)
        }),
        Case::new(Pattern::Concurrency, TOWER, Base::Plain, |inner, calls| {
            drive_plain(ConcurrencyLimitLayer::new(PERMITS).layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Concurrency, SEMAPHORE, Base::Plain, |inner, calls| {
            drive_plain(ByHand::new(Echo(inner), semaphore()), calls)
        }),
        Case::new(Pattern::Rate, TOWER, Base::Plain, |inner, calls| {
            drive_plain(rate().layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::LimitedStack, TOWER, Base::Plain, |inner, calls| {
            let attempt = TimeoutLayer::new(ATTEMPT).layer(Echo(inner));
            let limit = ConcurrencyLimitLayer::new(PERMITS).layer(attempt);
            let retry = retry::RetryLayer::new(Budgeted::new()).layer(limit);
            drive_plain(TimeoutLayer::new(TIMEOUT).layer(retry), calls)
        }),
    ]
}

/// The same over HTTP. They free their permits at the response head.
pub(crate) fn http() -> [Case; 4] {
    [
        Case::new(Pattern::Concurrency, TOWER, Base::Http, |inner, calls| {
            drive_http(ConcurrencyLimitLayer::new(PERMITS).layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Concurrency, SEMAPHORE, Base::Http, |inner, calls| {
            drive_http(ByHand::new(Echo(inner), semaphore()), calls)
        }),
        Case::new(Pattern::Rate, TOWER, Base::Http, |inner, calls| {
            drive_http(rate().layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::LimitedStack, TOWER, Base::Http, |inner, calls| {
            let attempt = TimeoutLayer::new(ATTEMPT).layer(Echo(inner));
            let limit = ConcurrencyLimitLayer::new(PERMITS).layer(attempt);
            let retry = retry::RetryLayer::new(Budgeted::new()).layer(limit);
            drive_http(TimeoutLayer::new(TIMEOUT).layer(retry), calls)
        }),
    ]
}

fn rate() -> RateLimitLayer {
    RateLimitLayer::new(u64::from(PER_SECOND), Duration::from_secs(1))
}
