use buttress::dedup::{DedupLayer, Keep};
use tower::Layer;

use crate::{Dedup, Hits, layers::TIMEOUT, limits::OURS};

/// Ours, which keeps nothing.
pub fn dedups() -> Vec<Dedup> {
    vec![Dedup::new(OURS, |inner| DedupLayer::in_flight().layer(inner))]
}

/// Ours, with a time to live.
pub fn hits() -> Vec<Hits> {
    vec![Hits::new("buttress, `.keep(..)`", |inner| {
        DedupLayer::in_flight().keep(Keep::new(TIMEOUT)).layer(inner)
    })]
}
