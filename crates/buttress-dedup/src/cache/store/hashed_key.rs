use std::{
    hash::{BuildHasherDefault, Hash, Hasher},
    sync::Arc,
};

use quick_cache::Equivalent;

/// A key with its hash.
///
/// `quick_cache` hashes keys under its exclusive locks. `Hash` of a key is code of the user: a panic there
/// would poison a lock for ever.
pub(super) struct HashedKey<K> {
    pub(super) hash: u64,
    // Shared, because quick_cache drops the key of a removed entry under its lock. The drop of the last
    // reference, which runs code of the user, comes later.
    pub(super) key: Arc<K>,
}

/// A borrowed key with its hash.
pub(super) struct KeyQuery<'a, K> {
    pub(super) hash: u64,
    pub(super) key: &'a K,
}

/// Takes the hash that a key carries.
pub(super) type SameHash = BuildHasherDefault<SameHasher>;

#[derive(Clone, Copy, Default)]
pub(super) struct SameHasher(u64);

impl<K> Clone for HashedKey<K> {
    fn clone(&self) -> Self {
        Self { hash: self.hash, key: Arc::clone(&self.key) }
    }
}

impl<K> Hash for HashedKey<K> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl<K> Hash for KeyQuery<'_, K> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl<K: Eq> PartialEq for HashedKey<K> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.key == other.key
    }
}

impl<K: Eq> Eq for HashedKey<K> {}

impl<K: Eq> Equivalent<HashedKey<K>> for KeyQuery<'_, K> {
    #[inline]
    fn equivalent(&self, other: &HashedKey<K>) -> bool {
        *self.key == *other.key
    }
}

impl Hasher for SameHasher {
    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        // For completeness: a key carries its hash as a `u64`.
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}
