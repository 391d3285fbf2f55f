//! The times of the requests: an open loop, independent of the responses.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand_distr::{Distribution, Exp};

/// Returns the times between `from` and `to` at which requests are due: a Poisson process.
pub(crate) fn between(
    from: Duration,
    to: Duration,
    per_second: f64,
    seed: u64,
) -> impl Iterator<Item = Duration> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed ^ STREAM);
    let gaps = Exp::new(per_second).ok();
    let mut due = from;
    std::iter::from_fn(move || {
        due += Duration::try_from_secs_f64(gaps?.sample(&mut random)).ok()?;
        (due < to).then_some(due)
    })
}

/// Separates the random numbers of the arrivals from those of the work, which uses the plain seed.
const STREAM: u64 = 0x6172_7269_7661_6c73;

#[cfg(test)]
mod tests {
    use super::*;

    fn ten_seconds(seed: u64) -> Vec<Duration> {
        between(Duration::from_secs(5), Duration::from_secs(15), 1000.0, seed).collect()
    }

    #[test]
    fn arrivals_are_ordered_and_follow_the_rate() {
        let arrivals = ten_seconds(3);
        // Five standard deviations of a Poisson count of 10,000.
        assert!((9_500..=10_500).contains(&arrivals.len()), "{}", arrivals.len());
        assert!(arrivals.is_sorted());
        assert!(arrivals[0] >= Duration::from_secs(5));
        assert!(arrivals[arrivals.len() - 1] < Duration::from_secs(15));
    }

    #[test]
    fn arrivals_depend_only_on_the_seed() {
        assert_eq!(ten_seconds(3), ten_seconds(3));
        assert_ne!(ten_seconds(3), ten_seconds(4));
    }
}
