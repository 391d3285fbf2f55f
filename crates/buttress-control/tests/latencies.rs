//! The quantile of recent latencies.
#![cfg(not(buttress_loom))]

use std::time::Duration;

use buttress_control::{Latencies, Nanos, Ratio};
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn median() -> Latencies {
    Latencies::new(Ratio::percent(50))
}

/// Records `count` samples of `latency`, all at `now`.
fn record(latencies: &Latencies, now: Duration, count: u32, latency: Duration) {
    for _ in 0..count {
        latencies.record(Nanos::from(now), latency);
    }
}

/// Whether the quantile is `exact`, or up to an eighth longer.
fn is_about(latencies: &Latencies, exact: Duration) -> bool {
    latencies.quantile().is_some_and(|found| found >= exact && found <= exact * 9 / 8)
}

/// HG-07.
#[test]
fn quantile_is_unknown_until_three_seconds_after_the_first_sample() {
    let latencies = median();
    record(&latencies, 100 * SECOND, 1000, 10 * MS);
    assert_eq!(latencies.quantile_nanos(), None);
    assert_eq!(latencies.quantile(), None);
    record(&latencies, Duration::from_millis(102_999), 1000, 10 * MS);
    assert_eq!(latencies.quantile(), None);
    record(&latencies, 103 * SECOND, 1, 10 * MS);
    assert!(is_about(&latencies, 10 * MS), "{latencies:?}");
}

#[test]
fn quantile_waits_for_fifty_samples() {
    let latencies = median();
    record(&latencies, Duration::ZERO, 1, 10 * MS);
    record(&latencies, 60 * SECOND, 48, 10 * MS);
    assert_eq!(latencies.quantile(), None);
    record(&latencies, 61 * SECOND, 1, 10 * MS);
    assert!(is_about(&latencies, 10 * MS), "{latencies:?}");
}

#[test]
fn old_quantile_stays_until_enough_newer_samples_came() {
    let latencies = median();
    record(&latencies, Duration::ZERO, 1, 10 * MS);
    record(&latencies, 3 * SECOND, 49, 10 * MS);
    // The halves changed. The next change empties the half of the fifty.
    record(&latencies, 6 * SECOND, 1, 80 * MS);
    assert!(is_about(&latencies, 10 * MS), "{latencies:?}");
    record(&latencies, 9 * SECOND, 48, 80 * MS);
    assert!(is_about(&latencies, 10 * MS), "{latencies:?}");
    record(&latencies, 9 * SECOND, 1, 80 * MS);
    assert!(is_about(&latencies, 80 * MS), "{latencies:?}");
}

#[test]
fn sample_is_forgotten_after_two_changes() {
    let latencies = Latencies::new(Ratio::percent(100));
    record(&latencies, Duration::ZERO, 1, 900 * MS);
    record(&latencies, SECOND, 100, 10 * MS);
    record(&latencies, 3 * SECOND, 1, 10 * MS);
    assert!(is_about(&latencies, 900 * MS), "the first half: {latencies:?}");
    record(&latencies, 6 * SECOND, 100, 10 * MS);
    assert!(is_about(&latencies, 900 * MS), "both halves: {latencies:?}");
    record(&latencies, 9 * SECOND, 100, 10 * MS);
    assert!(is_about(&latencies, 10 * MS), "{latencies:?}");
}

#[test]
fn share_that_is_set_holds_from_the_next_change_on() {
    let latencies = median();
    record(&latencies, Duration::ZERO, 100, 10 * MS);
    record(&latencies, SECOND, 10, 80 * MS);
    record(&latencies, 3 * SECOND, 1, 10 * MS);
    assert!(is_about(&latencies, 10 * MS), "{latencies:?}");
    latencies.set_share(Ratio::percent(99));
    assert_eq!(latencies.share(), Ratio::percent(99));
    assert!(is_about(&latencies, 10 * MS), "{latencies:?}");
    record(&latencies, 6 * SECOND, 1, 10 * MS);
    assert!(is_about(&latencies, 80 * MS), "{latencies:?}");
    latencies.set_share(Ratio::per_million(u32::MAX));
    assert_eq!(latencies.share(), Ratio::percent(100));
}

#[test]
fn latencies_beyond_the_histogram_count_at_its_ends() {
    let latencies = median();
    record(&latencies, Duration::ZERO, 1, Duration::ZERO);
    record(&latencies, 3 * SECOND, 99, Duration::ZERO);
    assert!(latencies.quantile().is_some_and(|shortest| shortest < Duration::from_micros(2)));
    let latencies = median();
    record(&latencies, Duration::ZERO, 1, Duration::MAX);
    record(&latencies, 3 * SECOND, 99, Duration::MAX);
    assert_eq!(latencies.quantile(), Some(Duration::MAX));
    let latencies = median();
    record(&latencies, Duration::ZERO, 1, 120 * SECOND);
    record(&latencies, 3 * SECOND, 99, 120 * SECOND);
    assert!(is_about(&latencies, 120 * SECOND), "{latencies:?}");
    let latencies = median();
    record(&latencies, Duration::ZERO, 1, 137 * SECOND);
    record(&latencies, 3 * SECOND, 99, 137 * SECOND);
    assert_eq!(latencies.quantile(), Some(Duration::MAX), "the last bucket");
    assert_eq!(latencies.quantile_nanos(), Some(u64::MAX));
}

#[test]
fn quantile_above_all_counts_as_all_and_zero_as_the_shortest() {
    for (share, exact) in [(Ratio::percent(250), 99 * MS), (Ratio::ZERO, MS)] {
        let latencies = Latencies::new(share);
        for latency in 1..100 {
            latencies.record(Nanos::new(0), latency * MS);
        }
        record(&latencies, 3 * SECOND, 1, MS);
        assert!(is_about(&latencies, exact), "{latencies:?}");
    }
}

#[test]
fn time_that_steps_back_changes_no_halves() {
    let latencies = median();
    record(&latencies, 100 * SECOND, 100, 10 * MS);
    record(&latencies, Duration::ZERO, 100, 10 * MS);
    assert_eq!(latencies.quantile(), None);
    record(&latencies, Duration::MAX, 100, 10 * MS);
    assert!(is_about(&latencies, 10 * MS), "{latencies:?}");
    record(&latencies, Duration::MAX, 100, 10 * MS);
}

#[test]
fn concurrent_samples_are_all_counted_between_changes() {
    let latencies = Latencies::new(Ratio::percent(90));
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let latencies = &latencies;
            scope.spawn(move || record(latencies, Duration::ZERO, 10_000, (thread + 1) * 10 * MS));
        }
    });
    assert!(format!("{latencies:?}").contains("samples: 40000"), "{latencies:?}");
    record(&latencies, 3 * SECOND, 1, 40 * MS);
    assert!(is_about(&latencies, 40 * MS), "{latencies:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// The same quantile from a sorted list of the samples of both halves.
    #[test]
    fn quantile_is_at_most_an_eighth_longer_than_that_of_the_sorted_samples(
        older in prop::collection::vec(1_100..120_000_000_000_u64, 50..150),
        newer in prop::collection::vec(0..40_u32, 1..150),
        share in 0..=1_000_000_u32,
    ) {
        // The newer samples cover all magnitudes.
        let newer = newer.into_iter().map(|power| 1_100_u64.saturating_mul(1 << (power % 26)));
        let latencies = Latencies::new(Ratio::per_million(share));
        let exact = |mut samples: Vec<u64>| {
            samples.sort_unstable();
            let rank = Ratio::per_million(share).ceil_of(samples.len() as u64).max(1);
            let place = usize::try_from(rank - 1).unwrap_or(usize::MAX);
            samples.get(place).copied().unwrap_or(0)
        };
        let (last, rest) = older.split_last().unwrap_or((&0, &[]));
        for sample in rest {
            latencies.record(Nanos::new(0), Duration::from_nanos(*sample));
        }
        latencies.record(Nanos::from(3 * SECOND), Duration::from_nanos(*last));
        prop_assert!(is_about(&latencies, Duration::from_nanos(exact(older.clone()))));
        let newer: Vec<_> = newer.collect();
        for sample in &newer {
            latencies.record(Nanos::from(4 * SECOND), Duration::from_nanos(*sample));
        }
        latencies.record(Nanos::from(6 * SECOND), Duration::from_nanos(1_100));
        let all = [older, newer, vec![1_100]].concat();
        prop_assert!(is_about(&latencies, Duration::from_nanos(exact(all))));
    }
}
