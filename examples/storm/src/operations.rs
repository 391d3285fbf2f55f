//! The operations: the same list for every client.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand_distr::{Distribution, Zipf};

/// Three dependent reads: `/l1/a`, then `/l2/b`, then `/l3/c`. Or the first of them alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Operation {
    keys: [u32; LEVELS],
    reads: usize,
}

impl Operation {
    /// Returns the paths to read, in order.
    pub(crate) fn paths(self) -> impl Iterator<Item = String> {
        self.keys
            .into_iter()
            .zip(1..)
            .take(self.reads)
            .map(|(key, level)| format!("/l{level}/{key}"))
    }

    /// Returns an operation that shares no key with an operation of another number.
    pub(crate) fn distinct(number: u32) -> Self {
        Self { keys: [number; LEVELS], reads: LEVELS }
    }

    /// Returns an operation of one read that shares no key with an operation of another number.
    pub(crate) fn single(number: u32) -> Self {
        Self { reads: 1, ..Self::distinct(number) }
    }
}

/// Returns the list of a run: keys by Zipf's law with exponent 1 over 200 keys a level.
pub(crate) fn list(seed: u64, number: usize) -> Vec<Operation> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed ^ STREAM);
    let mut keys = || [(); LEVELS].map(|()| key(&mut random));
    (0..number).map(|_| Operation { keys: keys(), reads: LEVELS }).collect()
}

/// Returns `number` operations that share no key.
pub(crate) fn distinct(number: usize) -> Vec<Operation> {
    (0..).map(Operation::distinct).take(number).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 200, whole")]
fn key(random: &mut Xoshiro256PlusPlus) -> u32 {
    Zipf::new(KEYS, EXPONENT).map_or(1, |keys| keys.sample(random) as u32)
}

const LEVELS: usize = 3;
const KEYS: f64 = 200.0;
const EXPONENT: f64 = 1.0;

/// Separates the random numbers of the list from those of the fault plan, which uses the plain seed.
const STREAM: u64 = 0x6f70_6572_6174_696f;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_key_has_the_frequency_of_zipfs_law() {
        let list = list(3, 20_000);
        let ones = list.iter().flat_map(|operation| operation.keys).filter(|key| *key == 1).count();
        // 1 / H(200) = .1701 of 60,000 draws is 10,207; five standard deviations are 460.
        assert!((9_747..=10_667).contains(&ones), "{ones}");
        assert!(
            list.iter().flat_map(|operation| operation.keys).all(|key| (1..=200).contains(&key))
        );
    }

    #[test]
    fn list_depends_only_on_the_seed() {
        assert_eq!(list(3, 50), list(3, 100)[..50]);
        assert_ne!(list(3, 50), list(4, 50));
    }

    #[test]
    fn operation_reads_one_key_of_each_level_in_order() {
        let paths: Vec<_> = Operation { keys: [9, 8, 7], reads: 3 }.paths().collect();
        assert_eq!(paths, ["/l1/9", "/l2/8", "/l3/7"]);
        assert_eq!(Operation::single(9).paths().collect::<Vec<_>>(), ["/l1/9"]);
    }
}
