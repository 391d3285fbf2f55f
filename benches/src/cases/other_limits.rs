use std::{hint::black_box, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tower::{
    Layer,
    limit::{ConcurrencyLimitLayer, RateLimitLayer},
    retry,
    timeout::TimeoutLayer,
};

use crate::{
    Base, ByHand, Case, Echo, Pattern,
    cases::limits::{IN_FLIGHT, PER_SECOND},
    cases::{ATTEMPT, Budgeted, TIMEOUT, TOWER},
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

/// Asks a semaphore that all clones share, and does not wait for it.
pub(crate) fn semaphore<Req>() -> impl Fn(&Req) -> Option<OwnedSemaphorePermit> + Clone + use<Req> {
    let permits = Arc::new(Semaphore::new(PERMITS));
    move |_| Arc::clone(&permits).try_acquire_owned().ok()
}

fn rate() -> RateLimitLayer {
    RateLimitLayer::new(u64::from(PER_SECOND), Duration::from_secs(1))
}

pub(crate) const SEMAPHORE: &str = "tokio's `Semaphore`, by hand";
pub(crate) const PERMITS: usize = IN_FLIGHT as usize;
