use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Uniform draws in a repeatable sequence that all callers share.
///
/// `SplitMix64` (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA
/// 2014) on a single atomic.
///
/// ```
/// use buttress_control::Random;
///
/// let (one, other) = (Random::seeded(7), Random::seeded(7));
/// assert_eq!(one.draw().to_bits(), other.draw().to_bits());
/// ```
#[derive(Debug)]
pub struct Random(AtomicU64);

impl Random {
    /// Creates the sequence of this seed.
    pub fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Starts the sequence of another seed.
    pub fn seed(&self, seed: u64) {
        self.0.store(seed, Relaxed);
    }

    /// Returns the next draw, from `[0, 1)`.
    pub fn draw(&self) -> f64 {
        let mut z = self.0.fetch_add(GAMMA, Relaxed).wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        #[expect(clippy::cast_precision_loss, reason = "53 bits are what an f64 holds exactly")]
        let uniform = (z >> 11) as f64 / (1_u64 << 53) as f64;
        uniform
    }
}

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
