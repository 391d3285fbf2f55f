use std::time::Duration;

use buttress_benches::{Dedup, Failed, Hits, Source};
use moka::{future, sync};
use tower::{Service, service_fn};

use crate::{ENTRIES, TTL, cache_aside};

/// It shares a call on its way into the cache, and has nothing else. What is in the cache must leave it
/// for the next call to be one.
pub(crate) fn dedups() -> [Dedup; 2] {
    [
        Dedup::new("moka 0.12 `get_with`, then `invalidate`", |inner| {
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
        Dedup::new("moka 0.12 `get_with`, no time to live", |inner| {
            get_with(cache(Duration::ZERO), inner)
        }),
    ]
}

pub(crate) fn hits() -> [Hits; 2] {
    [
        Hits::new("moka 0.12 `sync`, by hand", |inner| {
            let cache = sync::Cache::builder().max_capacity(ENTRIES).time_to_live(TTL).build();
            cache_aside::by_hand(inner, cache, |cache, key| cache.get(&key), sync::Cache::insert)
        }),
        Hits::new("moka 0.12 `get_with`", |inner| get_with(cache(TTL), inner)),
    ]
}

fn get_with(
    cache: future::Cache<u64, Result<u64, Failed>>,
    inner: Source,
) -> impl Service<u64, Response = u64, Error = Failed, Future: Send> + Clone + Send {
    service_fn(move |key| {
        let (cache, mut inner) = (cache.clone(), inner.clone());
        async move { cache.get_with(key, async move { inner.call(key).await }).await }
    })
}

fn cache(ttl: Duration) -> future::Cache<u64, Result<u64, Failed>> {
    future::Cache::builder().max_capacity(ENTRIES).time_to_live(ttl).build()
}
