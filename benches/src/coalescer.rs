use tower::Service;

use crate::{
    Case, DedupContention, Flight, Inner, Pattern, Source, Workload,
    concurrent_calls::drive_concurrent, drive_plain,
};

/// All measurements of an implementation of request coalescing.
#[derive(Debug)]
pub struct Coalescer {
    /// A lone caller, and 64 concurrent callers with one key.
    pub cases: [Case; 2],
    /// Tasks on two threads that call with one key.
    pub contention: DedupContention,
    /// 10,000 followers of one flight.
    pub flight: Flight,
}

impl Coalescer {
    /// `layer` wraps an inner service. Clones of the service it returns share calls.
    pub fn new<S>(provider: &'static str, layer: impl Fn(Source) -> S + Copy + 'static) -> Self
    where
        S: Service<u64, Response = u64, Future: Send, Error: Send> + Clone + Send + 'static,
    {
        let (pattern, plain) = (Pattern::Coalescing, Workload::Plain);
        let alone = Case::new(pattern, provider, plain, move |inner, calls| {
            drive_plain(layer(Source::new(inner)), calls)
        });
        let concurrent = Workload::Concurrent;
        let concurrent = Case::new(pattern, provider, concurrent, move |inner, calls| {
            // A source that wakes itself would be polled to completion by the second caller.
            let source = if inner == Inner::Pend { Source::held() } else { Source::new(inner) };
            drive_concurrent(layer(source.clone()), &source, calls)
        });
        Self {
            cases: [alone, concurrent],
            contention: DedupContention::coalescing(provider, layer),
            flight: Flight::new(provider, layer),
        }
    }
}

/// All measurements of an implementation of a response cache.
#[derive(Debug)]
pub struct ResponseCache {
    /// Cache hits, one call at a time.
    pub case: Case,
    /// Cache hits of tasks on two threads, all with one key.
    pub contention: DedupContention,
}

impl ResponseCache {
    /// `layer` wraps an inner service. Clones of the service it returns share the cache.
    pub fn new<S>(provider: &'static str, layer: impl Fn(Source) -> S + Copy + 'static) -> Self
    where
        S: Service<u64, Response = u64, Future: Send, Error: Send> + Clone + Send + 'static,
    {
        let case = Case::new(Pattern::CacheHit, provider, Workload::Plain, move |inner, calls| {
            drive_plain(layer(Source::new(inner)), calls)
        });
        Self { case, contention: DedupContention::caching(provider, layer) }
    }
}

/// The bare service under 64 concurrent callers, each of which makes an inner call of its own. The other
/// cases are compared with this one.
pub(crate) fn bare() -> Case {
    Case::new(Pattern::Bare, "–", Workload::Concurrent, |inner, calls| {
        let source = Source::new(inner);
        drive_concurrent(source.clone(), &source, calls)
    })
}
