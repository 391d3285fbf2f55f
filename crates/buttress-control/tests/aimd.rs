//! AIMD: a call more, or a tenth fewer.
#![cfg(not(buttress_loom))]

use std::time::Duration;

use buttress_control::{Adapt, Aimd, Nanos, Ratio, Sample};

const MS: Duration = Duration::from_millis(1);

fn sample(rtt: Duration, in_flight: u32, dropped: bool) -> Sample {
    Sample::new(Nanos::new(0), rtt, in_flight, dropped)
}

/// Netflix's class by itself learns from every call.
fn netflix(initial: u32) -> Aimd {
    Aimd::default().each_call().initial(initial).timeout(Duration::from_secs(5))
}

/// Netflix concurrency-limits, `AIMDLimitTest`.
#[test]
fn call_near_the_limit_raises_the_limit_by_one() {
    assert_eq!(netflix(20).learn(sample(MS, 10, false)), 21);
}

/// Netflix concurrency-limits, `AIMDLimitTest`.
#[test]
fn drop_leaves_nine_tenths_of_the_limit() {
    assert_eq!(netflix(30).learn(sample(Duration::ZERO, 0, true)), 27);
}

/// Netflix concurrency-limits, `AIMDLimitTest`.
#[test]
fn limit_stays_at_its_maximum() {
    assert_eq!(netflix(21).max(21).min(0).learn(sample(MS, 11, false)), 21);
}

/// The rule of Netflix concurrency-limits, `AIMDLimit`.
#[test]
fn call_beyond_the_timeout_is_a_drop() {
    let timeout = Duration::from_secs(5);
    assert_eq!(netflix(30).learn(sample(timeout, 30, false)), 31);
    assert_eq!(netflix(30).learn(sample(timeout + MS, 30, false)), 27);
}

/// The rule of Netflix concurrency-limits, `AIMDLimit`.
#[test]
fn call_far_from_the_limit_raises_no_limit() {
    assert_eq!(netflix(20).learn(sample(MS, 9, false)), 20);
}

#[test]
fn backoff_takes_at_most_half_and_adds_nothing() {
    let dropped = |backoff| netflix(30).backoff(backoff).learn(sample(MS, 30, true));
    assert_eq!(dropped(Ratio::ZERO), 15);
    assert_eq!(dropped(Ratio::percent(70)), 21);
    assert_eq!(dropped(Ratio::MAX), 30);
}

/// The limit after a round of calls that took 100 ms, and one of calls that took so long.
fn after_a_round(mut law: Aimd, rtt: Duration) -> u32 {
    for rtt in [100 * MS, rtt] {
        for _ in 0..100 {
            law.learn(sample(rtt, 20, false));
        }
    }
    law.limit()
}

#[test]
fn round_above_the_tolerance_is_bad() {
    let law = || Aimd::default().max(20);
    assert_eq!(after_a_round(law(), 150 * MS), 20);
    assert_eq!(after_a_round(law(), 151 * MS), 18);
    assert_eq!(after_a_round(law().tolerance(Ratio::percent(200)), 200 * MS), 20);
    assert_eq!(after_a_round(law().tolerance(Ratio::ZERO), 101 * MS), 18);
}

#[test]
fn round_tolerates_a_twentieth_of_late_calls() {
    let mut law = Aimd::default().max(20).timeout(200 * MS);
    let mut late = || (0..5).fold(0, |_, _| law.learn(sample(201 * MS, 20, false)));
    assert_eq!(late(), 20);
    assert_eq!(law.clone().learn(sample(200 * MS, 20, false)), 20);
    assert_eq!(law.learn(sample(201 * MS, 20, false)), 18);
}

#[test]
fn given_baseline_counts_from_the_first_round() {
    let mut law = Aimd::default().baseline(10 * MS);
    assert_eq!(law.learned(), Some(10 * MS));
    for _ in 0..100 {
        law.learn(sample(100 * MS, 20, false));
    }
    assert_eq!(law.limit(), 18);
}
