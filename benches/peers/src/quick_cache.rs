use std::sync::Arc;

use buttress_benches::{Coalescer, ResponseCache, SourceError};
use quick_cache::sync::Cache;
use tokio::time::Instant;
use tower::{Service, service_fn};

use crate::{ENTRIES, TTL, cache_aside};

/// `quick_cache` coalesces only calls that fill the cache, so the leader then removes the entry.
pub(crate) fn dedup() -> Coalescer {
    Coalescer::new("quick_cache 0.7 `get_value_or_guard_async`, then `remove`", |inner| {
        let cache = Arc::new(cache());
        service_fn(move |key| {
            let (cache, mut inner) = (Arc::clone(&cache), inner.clone());
            async move {
                match cache.get_value_or_guard_async(&key).await {
                    Ok(response) => Ok(response),
                    Err(guard) => {
                        let response = inner.call(key).await?;
                        if guard.insert(response).is_ok() {
                            cache.remove(&key);
                        }
                        Ok::<_, SourceError>(response)
                    }
                }
            }
        })
    })
}

/// `quick_cache` has no TTL, so the first case stores the expiry beside the value.
pub(crate) fn response_caches() -> [ResponseCache; 2] {
    [
        ResponseCache::new("quick_cache 0.7 and tokio's `Instant`, by hand", |inner| {
            let fresh = |(response, until)| (Instant::now() < until).then_some(response);
            cache_aside::by_hand(
                inner,
                cache(),
                move |cache, key| cache.get(&key).and_then(fresh),
                |cache, key, response| cache.insert(key, (response, Instant::now() + TTL)),
            )
        }),
        ResponseCache::new("quick_cache 0.7, for ever, by hand", |inner| {
            cache_aside::by_hand(inner, cache(), |cache, key| cache.get(&key), Cache::insert)
        }),
    ]
}

fn cache<V: Clone>() -> Cache<u64, V> {
    Cache::new(usize::try_from(ENTRIES).unwrap_or(usize::MAX))
}
