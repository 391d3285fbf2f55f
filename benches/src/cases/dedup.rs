use buttress::dedup::{Cache, DedupLayer};
use tower::Layer;

use crate::{
    Dedup, Hits,
    cases::settings::{OURS, TIMEOUT},
};

/// Ours, which keeps nothing.
pub fn dedups() -> Vec<Dedup> {
    vec![Dedup::new(OURS, |inner| DedupLayer::new().layer(inner))]
}

/// Ours, with a time to live.
pub fn hits() -> Vec<Hits> {
    vec![Hits::new("buttress, `.keep(..)`", |inner| {
        DedupLayer::new().cache(Cache::new(TIMEOUT)).layer(inner)
    })]
}
