use buttress_benches::{Coalescer, ResponseCache};
use tower::Layer;
use tower_resilience_cache::CacheLayer;
use tower_resilience_coalesce::CoalesceLayer;

use crate::{ENTRIES, TTL};

/// The followers wake themselves until the response is there.
pub(crate) fn dedup() -> Coalescer {
    Coalescer::new("tower-resilience 0.14 `coalesce`", |inner| {
        CoalesceLayer::new(|request: &u64| *request).layer(inner)
    })
}

#[expect(clippy::expect_used, reason = "it has a key extractor")]
pub(crate) fn response_caches() -> ResponseCache {
    ResponseCache::new("tower-resilience 0.14 `cache`", |inner| {
        let entries = usize::try_from(ENTRIES).unwrap_or(usize::MAX);
        let layer = CacheLayer::builder().max_size(entries).ttl(TTL);
        let layer = layer.key_extractor(|request: &u64| *request).build();
        layer.expect("it has a key extractor").layer(inner)
    })
}
