use std::hash::{Hash, Hasher};

use foldhash::{SharedSeed, fast::FoldHasher};

/// The hash of keys, with seeds of its own.
///
/// The seeds come from the generator of the thread, so a simulation that seeds the generator gets the
/// same shards in each run. Both seeds are needed: an input that cancels a known shared seed collides
/// whatever the other seed is.
pub(super) struct SeededHash {
    seed: u64,
    shared: SharedSeed,
}

impl SeededHash {
    pub(super) fn new() -> Self {
        Self { seed: fastrand::u64(..), shared: SharedSeed::from_u64(fastrand::u64(..)) }
    }

    #[inline]
    pub(super) fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        key.hash(&mut hasher);
        hasher.finish()
    }
}
