//! Trend, as failsafe-go has it.
#![cfg(not(buttress_loom))]

use std::time::Duration;

use buttress_control::{Adapt, Nanos, Sample, Trend};

const MS: Duration = Duration::from_millis(1);

/// failsafe-go's limiter in its own tests: windows of one sample, and a baseline of a second.
fn failsafe() -> Trend {
    Trend::default().each_call().baseline(1000 * MS)
}

fn learn(law: &mut Trend, millis: u32, in_flight: u32) -> u32 {
    law.learn(Sample::new(Nanos::new(0), millis * MS, in_flight, false))
}

/// failsafe-go, `adaptivelimiter_test.go`.
#[test]
fn limit_grows_while_the_latency_is_steady() {
    let mut law = failsafe();
    assert_eq!([learn(&mut law, 1000, 5), learn(&mut law, 500, 5)], [21, 22]);
}

/// failsafe-go, `adaptivelimiter_test.go`.
#[test]
fn limit_shrinks_when_many_calls_wait() {
    let mut law = failsafe();
    assert_eq!([learn(&mut law, 2000, 10), learn(&mut law, 2000, 10)], [19, 18]);
}

/// failsafe-go, `adaptivelimiter_test.go`.
#[test]
fn limit_stays_when_a_few_calls_wait() {
    let mut law = failsafe();
    assert_eq!([learn(&mut law, 1300, 10), learn(&mut law, 1300, 10)], [20, 20]);
}

/// failsafe-go, `adaptivelimiter_test.go`.
#[test]
fn times_are_filtered_and_smoothed() {
    let mut law = failsafe();
    let mut recent = |millis| {
        learn(&mut law, millis, 10);
        law.recent()
    };
    assert_eq!(recent(100), 100 * MS);
    assert_eq!(recent(300), 200 * MS);
    assert_eq!(recent(200), 200 * MS);
    assert_eq!(recent(200), 200 * MS);
    // The fifth is the first that the median stands for.
    assert_eq!(recent(250), 200 * MS);
}

#[test]
fn limit_grows_to_five_times_the_calls_in_flight() {
    let mut law = failsafe();
    let grown = (0..10).map(|_| learn(&mut law, 1000, 5)).last();
    assert_eq!(grown, Some(25));
    assert_eq!([learn(&mut law, 1000, 4), learn(&mut law, 1000, 4)], [24, 23]);
}

/// How the limit moves in the end, when calls take a second for a while, and then there are twice as many and
/// they take so much longer.
fn moves(mut law: Trend, millis: u32) -> i64 {
    for _ in 0..20 {
        learn(&mut law, 1000, 100);
    }
    for _ in 0..25 {
        learn(&mut law, millis, 200);
    }
    let before = i64::from(law.limit());
    i64::from(learn(&mut law, millis, 200)) - before
}

/// All places are taken, for there are 20 or few more of them.
fn full(millis: u32) -> i64 {
    moves(failsafe().initial(20).max(100), millis)
}

/// Most places are free.
fn free(millis: u32) -> i64 {
    moves(failsafe().initial(500).max(900), millis)
}

/// The rule of failsafe-go, `adaptivelimiter.go`, `computeChange`.
#[test]
fn full_limit_grows_while_throughput_rises() {
    assert_eq!(full(1300), 1);
}

/// The rule of failsafe-go, `adaptivelimiter.go`, `computeChange`.
#[test]
fn full_limit_shrinks_when_throughput_falls() {
    assert_eq!(full(3000), -1);
}

/// The rule of failsafe-go, `adaptivelimiter.go`, `computeChange`.
#[test]
fn full_limit_shrinks_when_throughput_hardly_rises_and_latency_does() {
    // The correlation of calls with throughput is 0.1, and with the time 0.9.
    assert_eq!(full(2200), -1);
}

/// The rule of failsafe-go, `adaptivelimiter.go`, `computeChange`.
#[test]
fn full_limit_shrinks_when_throughput_stays_and_latency_rises() {
    // The throughput varies by 19 %, and by 23 % above.
    assert_eq!(full(1800), -1);
}

#[test]
fn limit_with_free_places_grows_in_all_cases() {
    assert_eq!([1300, 1800, 2200, 3000].map(free), [2; 4]);
}
