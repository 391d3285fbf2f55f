//! Vegas: a few calls wait, and no more.
#![cfg(not(buttress_loom))]

use std::time::Duration;

use buttress_control::{Adapt, Nanos, Sample, Slack, Vegas};

/// Netflix's class by itself learns from every call.
fn netflix(initial: u32) -> Vegas {
    Vegas::default().each_call().initial(initial).max(20_000)
}

fn after<const N: usize>(mut law: Vegas, samples: [(u64, u32); N]) -> [u32; N] {
    samples.map(|(millis, in_flight)| {
        let rtt = Duration::from_millis(millis);
        law.learn(Sample::new(Nanos::new(0), rtt, in_flight, false))
    })
}

/// Netflix concurrency-limits, `VegasLimitTest`.
#[test]
fn large_limit_grows_by_six_for_each_digit() {
    let limits = after(netflix(10_000), [(10_000, 5000), (10_000, 6000)]);
    assert_eq!(limits, [10_000, 10_024]);
}

/// Netflix concurrency-limits, `VegasLimitTest`.
#[test]
fn limit_that_is_not_half_used_stays() {
    assert_eq!(after(netflix(10_000), [(10_000, 5000), (10_000, 4999)]), [10_000, 10_000]);
}

#[test]
fn limit_moves_by_the_waiting_calls_as_in_netflix() {
    assert_eq!(after(netflix(10), [(10, 10), (10, 11)]), [10, 16]);
    assert_eq!(after(netflix(10), [(10, 10), (50, 11)]), [10, 9]);
    assert_eq!(after(netflix(10), [(10, 10), (14, 14)]), [10, 10]);
}

#[test]
fn first_call_and_each_faster_call_only_set_the_baseline() {
    let limits = after(netflix(10), [(30, 10), (20, 10), (10, 10), (50, 10)]);
    assert_eq!(limits, [10, 10, 10, 9]);
}

#[test]
fn given_baseline_counts_from_the_first_call() {
    let known = netflix(10).baseline(Duration::from_millis(10));
    assert_eq!(after(known, [(50, 10)]), [9]);
}

#[test]
fn alpha_and_beta_options_apply() {
    let narrow = netflix(20).alpha(Slack::constant(2)).beta(Slack::constant(2));
    // 20 · (1 − 10/12) is 3.3, so 4 calls wait.
    assert_eq!(after(narrow, [(10, 20), (12, 20)]), [20, 19]);
}

/// After a round of calls that took 10 ms, and one of calls that took so long.
fn after_a_round(micros: u64) -> u32 {
    let mut law = Vegas::default().initial(100).baseline(Duration::from_millis(10));
    for _ in 0..200 {
        let rtt = Duration::from_micros(micros);
        law.learn(Sample::new(Nanos::new(0), rtt, 100, false));
    }
    law.limit()
}

#[test]
fn rounds_let_a_tenth_to_a_fifth_of_a_large_limit_wait() {
    assert_eq!(after_a_round(10_100), 120, "1 waits");
    assert_eq!(after_a_round(10_860), 102, "8 wait");
    assert_eq!(after_a_round(11_200), 100, "11 wait");
    assert_eq!(after_a_round(12_400), 100, "20 wait");
    assert_eq!(after_a_round(12_600), 98, "21 wait");
}

#[test]
fn rounds_lower_a_far_too_high_limit_by_half_of_the_excess() {
    assert_eq!(after_a_round(25_000), 80, "60 wait");
}
