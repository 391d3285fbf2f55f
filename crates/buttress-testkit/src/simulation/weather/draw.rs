use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::seeded_random::{SeededRandom, mixed};

/// Returns the generator of a call: a function of the seed, the key and the instant.
pub(super) fn random<K: Hash + ?Sized>(seed: u64, key: &K, since: Duration) -> SeededRandom {
    let mut hasher = StableHasher::new();
    key.hash(&mut hasher);
    let nanos = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    let state = mixed(seed.wrapping_add(GOLDEN)) ^ hasher.finish();
    SeededRandom::seeded(mixed(state) ^ mixed(nanos.wrapping_add(GOLDEN)))
}

/// Moves the draw `within` (0, 1] of call `number` into the slot of the call. A block has `length`
/// slots of equal width, and each of its calls has a slot of its own.
pub(super) fn stratified(seed: u64, number: u64, length: u32, within: f64) -> f64 {
    let (block, place) = (number / u64::from(length), number % u64::from(length));
    let mut random = SeededRandom::seeded(mixed(seed.wrapping_add(mixed(block ^ GOLDEN))));
    let mut slots: Vec<u32> = (0..length).collect();
    // Fisher and Yates. A library's shuffle may draw differently on a machine of 32 bits.
    for last in (1..slots.len()).rev() {
        let other = random.below(last as u64 + 1);
        slots.swap(last, usize::try_from(other).unwrap_or(last));
    }
    let slot = usize::try_from(place).ok().and_then(|place| slots.get(place)).copied();
    (f64::from(slot.unwrap_or_default()) + within) / f64::from(length)
}

/// FNV-1a of 64 bits, with numbers in little-endian order, so that a key has the same hash on every
/// machine. The hashers of std and of foldhash do not promise this.
struct StableHasher(u64);

impl StableHasher {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

macro_rules! little_endian {
    ($($write:ident: $number:ty),* $(,)?) => {
        $(fn $write(&mut self, number: $number) {
            self.write(&number.to_le_bytes());
        })*
    };
}

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        mixed(self.0)
    }

    little_endian! {
        write_u16: u16, write_u32: u32, write_u64: u64, write_u128: u128,
        write_i16: i16, write_i32: i32, write_i64: i64, write_i128: i128,
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_i64(number as i64);
    }
}

/// The increment of `SplitMix64`.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
