use std::{
    fmt,
    hash::{Hash, Hasher},
};

use foldhash::{SharedSeed, quality::FoldHasher};

/// The hash of keys, with seeds of its own.
///
/// The seeds come from the thread's generator of [`fastrand`](https://docs.rs/fastrand). So a
/// simulation that seeds the generator gets the same hashes in each run, and other processes get
/// seeds that no client can predict. Both seeds are needed: an input that cancels a known shared seed
/// collides whatever the other seed is.
pub struct SeededHash {
    seed: u64,
    shared: SharedSeed,
}

impl SeededHash {
    /// Draws the seeds.
    #[expect(clippy::new_without_default, reason = "each value differs from all others")]
    pub fn new() -> Self {
        Self { seed: fastrand::u64(..), shared: SharedSeed::from_u64(fastrand::u64(..)) }
    }

    /// Returns the hash of `key`.
    #[inline]
    pub fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        key.hash(&mut hasher);
        hasher.finish()
    }
}

impl fmt::Debug for SeededHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The seeds stay secret.
        f.debug_struct("SeededHash").finish_non_exhaustive()
    }
}
