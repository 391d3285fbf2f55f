//! The hash of keys.

use buttress_state::SeededHash;

/// The bits that select a shard, as in `KeyTable`.
fn shard(hash: u64) -> usize {
    usize::try_from(hash >> 32 & 15).unwrap_or(0)
}

/// Numbered tenants are the usual keys. A shard has a maximum of its own, so a shard with too many
/// of them would turn keys away while others have room.
#[test]
fn consecutive_numbers_spread_over_all_shards_for_every_seed() {
    for seed in 0..2000 {
        fastrand::seed(seed);
        let hash = SeededHash::new();
        let mut shards = [0; 16];
        for key in 0..1600_u32 {
            if let Some(keys) = shards.get_mut(shard(hash.hash(&key))) {
                *keys += 1;
            }
        }
        // 100 on average. Six standard deviations are 58.
        assert!(shards.iter().all(|keys| (42..=158).contains(keys)), "seed {seed}: {shards:?}");
    }
}
