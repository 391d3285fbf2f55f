use std::hash::{BuildHasher, RandomState};

/// Returns 128 random bits.
///
/// The keys of std's hasher come from the operating system. A generator that is seeded with the time
/// could give the same bits to two processes that start together.
pub(crate) fn random_bits() -> [u8; 16] {
    let mut bits = [0; 16];
    for half in bits.chunks_exact_mut(8) {
        half.copy_from_slice(&RandomState::new().hash_one(0_u8).to_le_bytes());
    }
    bits
}
