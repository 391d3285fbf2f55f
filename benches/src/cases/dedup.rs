use buttress::dedup::{Cache, DedupLayer};
use tower::Layer;

use crate::{
    Coalescer, ResponseCache,
    cases::settings::{BUTTRESS, TIMEOUT},
};

/// Request coalescing by buttress, without a cache.
pub fn coalescers() -> Vec<Coalescer> {
    vec![Coalescer::new(BUTTRESS, |inner| DedupLayer::new().layer(inner))]
}

/// The response cache of buttress, with a TTL.
pub fn response_caches() -> Vec<ResponseCache> {
    vec![ResponseCache::new("buttress, `.cache(..)`", |inner| {
        DedupLayer::new().cache(Cache::new(TIMEOUT)).layer(inner)
    })]
}
