use std::time::Duration;

use buttress_benches::{Coalescer, ResponseCache, Source, SourceError};
use moka::{future, sync};
use tower::{Service, service_fn};

use crate::{ENTRIES, TTL, cache_aside};

/// moka coalesces only calls that fill the cache. Each case removes the entry, or lets the entry expire at
/// once, so that the next call is a miss.
pub(crate) fn coalescers() -> [Coalescer; 2] {
    [
        Coalescer::new("moka 0.12 `get_with`, then `invalidate`", |inner| {
            let cache = cache(TTL);
            service_fn(move |key| {
                let (cache, mut inner) = (cache.clone(), inner.clone());
                async move {
                    let outcome = cache.get_with(key, async move { inner.call(key).await }).await;
                    cache.invalidate(&key).await;
                    outcome
                }
            })
        }),
        Coalescer::new("moka 0.12 `get_with`, no time to live", |inner| {
            get_with(cache(Duration::ZERO), inner)
        }),
    ]
}

pub(crate) fn response_caches() -> [ResponseCache; 2] {
    [
        ResponseCache::new("moka 0.12 `sync`, by hand", |inner| {
            let cache = sync::Cache::builder().max_capacity(ENTRIES).time_to_live(TTL).build();
            cache_aside::by_hand(inner, cache, |cache, key| cache.get(&key), sync::Cache::insert)
        }),
        ResponseCache::new("moka 0.12 `get_with`", |inner| get_with(cache(TTL), inner)),
    ]
}

fn get_with(
    cache: future::Cache<u64, Result<u64, SourceError>>,
    inner: Source,
) -> impl Service<u64, Response = u64, Error = SourceError, Future: Send> + Clone + Send {
    service_fn(move |key| {
        let (cache, mut inner) = (cache.clone(), inner.clone());
        async move { cache.get_with(key, async move { inner.call(key).await }).await }
    })
}

fn cache(ttl: Duration) -> future::Cache<u64, Result<u64, SourceError>> {
    future::Cache::builder().max_capacity(ENTRIES).time_to_live(ttl).build()
}
