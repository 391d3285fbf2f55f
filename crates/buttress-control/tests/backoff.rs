//! Backoff: the curves, the jitters, the cap.
#![cfg(not(buttress_loom))]

use std::time::Duration;

use buttress_control::{Backoff, Delays, Jitter, Ratio};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(100_000);
const QUARTER: Jitter = Jitter::Proportional(Ratio::percent(25));

fn seconds<const N: usize>(backoff: Backoff, draws: [f64; N]) -> [f64; N] {
    let mut delays = Delays::new();
    draws.map(|random| backoff.next(&mut delays, random).as_secs_f64())
}

fn assert_near<const N: usize>(seconds: [f64; N], expected: [f64; N]) {
    for (seconds, expected) in seconds.into_iter().zip(expected) {
        assert!((seconds - expected).abs() < 1e-3 * expected.max(1e-6), "{seconds} for {expected}");
    }
}

#[test]
fn backoff_shows_its_first_and_its_longest_delay() {
    let shows = |backoff: Backoff| (backoff.base(), backoff.first(), backoff.max());
    let capped = Backoff::exponential(2 * SECOND, SECOND);
    assert_eq!(shows(capped), (2 * SECOND, SECOND, SECOND));
    assert_eq!(shows(Backoff::linear(SECOND, LONG)), (SECOND, SECOND, LONG));
    assert_eq!(shows(Backoff::constant(SECOND)), (SECOND, SECOND, SECOND));
}

/// Polly, `RetryHelperTests`.
#[test]
fn curves_without_jitter_match_polly() {
    let of = |backoff: Backoff| seconds(backoff.jitter(Jitter::None), [0.7; 3]);
    assert_near(of(Backoff::exponential(SECOND, LONG)), [1.0, 2.0, 4.0]);
    assert_near(of(Backoff::linear(SECOND, LONG)), [1.0, 2.0, 3.0]);
    assert_near(of(Backoff::constant(SECOND)), [1.0, 1.0, 1.0]);
}

/// Polly, `RetryHelperTests`.
#[test]
fn base_of_zero_never_waits() {
    let backoffs = [
        Backoff::exponential(Duration::ZERO, LONG).factor(f64::INFINITY),
        Backoff::linear(Duration::ZERO, LONG),
        Backoff::constant(Duration::ZERO).jitter(QUARTER),
        Backoff::decorrelated(Duration::ZERO, LONG),
        Backoff::decorrelated_v2(Duration::ZERO, LONG),
        Backoff::none(),
    ];
    for backoff in backoffs {
        assert_near(seconds(backoff, [0.9; 200]), [0.0; 200]);
    }
}

/// smithy-rs, `standard.rs`, `max_backoff_time`.
#[test]
fn cap_ends_the_doubling() {
    let backoff = Backoff::exponential(SECOND, 3 * SECOND).jitter(Jitter::None);
    assert_near(seconds(backoff, [0.5; 4]), [1.0, 2.0, 3.0, 3.0]);
}

/// Polly, `RetryHelperTests`.
#[test]
fn proportional_jitter_spreads_to_both_sides() {
    for (random, expected) in [(0.0, 0.75), (0.4, 0.95), (0.6, 1.05), (1.0, 1.25)] {
        assert_near(seconds(Backoff::constant(SECOND).jitter(QUARTER), [random]), [expected]);
    }
    let linear = Backoff::linear(SECOND, LONG).jitter(QUARTER);
    for (random, expected) in [(0.0, 2.25), (0.4, 2.85), (0.5, 3.0), (0.6, 3.15), (1.0, 3.75)] {
        let [_, _, third] = seconds(linear, [random; 3]);
        assert_near([third], [expected]);
    }
}

/// Envoy takes a random integer modulo the ceiling; the same draw as a fraction of the ceiling.
fn envoy(random: u32, base: u64, cap: u64, ceilings: &[u32]) -> Vec<u128> {
    let backoff = Backoff::exponential(Duration::from_millis(base), Duration::from_millis(cap));
    let mut delays = Delays::new();
    let draw = |ceiling: &u32| f64::from(random % ceiling) / f64::from(*ceiling);
    ceilings.iter().map(|ceiling| backoff.next(&mut delays, draw(ceiling)).as_millis()).collect()
}

/// Envoy, `test/common/common/backoff_strategy_test.cc`.
#[test]
fn full_jitter_matches_envoy() {
    let delays = envoy(9999, 5, 100, &[5, 10, 20, 40, 80, 100, 100]);
    assert_eq!(delays, [4, 9, 19, 39, 79, 99, 99]);
    assert_eq!(envoy(9999, 5, 100, &[5]), [4], "a new call starts at the first ceiling");
    assert_eq!(envoy(27, 25, 30, &[25, 30]), [2, 27]);
}

/// Computed with the formula of Polly, `RetryHelper.cs`.
#[test]
fn decorrelated_v2_matches_polly() {
    let uncapped = Backoff::decorrelated_v2(SECOND, LONG);
    let middle = [0.8974, 1.0930, 2.0357, 4.0460, 8.0836, 16.164];
    assert_near(seconds(uncapped, [0.5; 6]), middle);
    let low = [0.0, 1.3772, 1.4601, 2.8658, 5.7178, 11.430];
    assert_near(seconds(uncapped, [0.0; 6]), low);
    let [.., sixth, seventh] = seconds(Backoff::decorrelated_v2(SECOND, 30 * SECOND), [0.5; 8]);
    assert_near([sixth, seventh], [30.0, 30.0]);
}

/// The regression of Polly issue 2163.
#[test]
fn decorrelated_v2_saturates_where_its_powers_are_infinite() {
    for cap in [30 * SECOND, LONG, Duration::from_nanos(u64::MAX)] {
        let backoff = Backoff::decorrelated_v2(Duration::from_nanos(1), cap);
        let mut delays = Delays::new();
        let late = (0..3000).map(|_| backoff.next(&mut delays, 0.999)).skip(1024);
        assert!(late.into_iter().all(|delay| delay == cap), "not {cap:?}");
    }
}

/// failsafe-go, `retrypolicy/retryexecutor_test.go`.
#[test]
fn two_seconds_double_up_to_thirty() {
    let backoff = Backoff::exponential(2 * SECOND, 30 * SECOND).factor(2.0).jitter(Jitter::None);
    assert_near(seconds(backoff, [0.5; 5]), [2.0, 4.0, 8.0, 16.0, 30.0]);
}

/// smithy-rs, `aws/sdk/integration-tests/dynamodb/tests/retry-spec.rs`.
#[test]
fn base_of_25_ms_sleeps_175_ms_in_four_attempts() {
    let backoff = Backoff::exponential(Duration::from_millis(25), 20 * SECOND).jitter(Jitter::None);
    let total: f64 = seconds(backoff, [0.5; 3]).iter().sum();
    assert_near([total], [0.175]);
}

#[test]
fn decorrelated_jitter_draws_between_the_base_and_three_times_the_former_delay() {
    let backoff = Backoff::decorrelated(SECOND, 10 * SECOND);
    assert_near(seconds(backoff, [0.0; 3]), [1.0, 1.0, 1.0]);
    // 1 + (3 − 1) / 2 = 2; 1 + (6 − 1) / 2 = 3.5; 1 + (10.5 − 1) / 2 = 5.75; 1 + (17.25 − 1) / 2 = 9.125
    assert_near(seconds(backoff, [0.5; 5]), [2.0, 3.5, 5.75, 9.125, 10.0]);
}

#[test]
fn equal_jitter_keeps_half_of_the_delay() {
    let backoff = Backoff::constant(2 * SECOND).jitter(Jitter::Equal);
    assert_near(seconds(backoff, [0.0, 0.5, 1.0]), [1.0, 1.5, 2.0]);
}

#[test]
fn delay_is_spread_at_the_cap_too() {
    for jitter in [Jitter::Full, Jitter::Equal, QUARTER] {
        let backoff = Backoff::exponential(SECOND, 4 * SECOND).jitter(jitter);
        let mut delays = Delays::new();
        let draws = (0..100).map(|n| backoff.next(&mut delays, f64::from(n % 10) / 10.0));
        let mut late: Vec<_> = draws.skip(50).collect();
        late.sort_unstable();
        late.dedup();
        assert_eq!(late.len(), 10, "{jitter:?}: ten draws, ten delays");
    }
}

#[test]
fn base_above_the_cap_counts_as_the_cap() {
    let backoffs = [
        Backoff::exponential(10 * SECOND, SECOND).jitter(Jitter::None),
        Backoff::linear(10 * SECOND, SECOND).jitter(Jitter::None),
        Backoff::decorrelated(10 * SECOND, SECOND),
    ];
    for backoff in backoffs {
        assert_near(seconds(backoff, [0.5; 3]), [1.0, 1.0, 1.0]);
    }
    let full = Backoff::exponential(10 * SECOND, SECOND);
    assert_near(seconds(full, [0.5]), [0.5]);
}

#[test]
fn invalid_factor_counts_as_one_and_infinite_factor_leads_to_the_cap() {
    let with = |factor| Backoff::exponential(SECOND, LONG).jitter(Jitter::None).factor(factor);
    for factor in [f64::NAN, -2.0, 0.0, 0.999, f64::NEG_INFINITY] {
        assert_near(seconds(with(factor), [0.5; 3]), [1.0, 1.0, 1.0]);
    }
    let long = LONG.as_secs_f64();
    assert_near(seconds(with(f64::INFINITY), [0.5; 3]), [1.0, long, long]);
    assert_near(seconds(with(1.5), [0.5; 3]), [1.0, 1.5, 2.25]);
}

#[test]
fn draw_out_of_range_counts_as_the_nearer_end() {
    let backoff = Backoff::exponential(SECOND, SECOND);
    let odd = [-1.0, f64::NAN, f64::NEG_INFINITY, 7.0, f64::INFINITY];
    assert_near(seconds(backoff, odd), [0.0, 0.0, 0.0, 1.0, 1.0]);
}

fn any_duration() -> impl Strategy<Value = Duration> {
    let millis = (0..100_000_u64).prop_map(Duration::from_millis);
    let any = any::<Duration>();
    prop_oneof![millis, any, Just(Duration::ZERO), Just(Duration::MAX)]
}

fn any_jitter() -> impl Strategy<Value = Jitter> {
    let share = any::<u32>().prop_map(|parts| Jitter::Proportional(Ratio::per_million(parts)));
    prop_oneof![Just(Jitter::None), Just(Jitter::Full), Just(Jitter::Equal), share]
}

fn any_backoff() -> impl Strategy<Value = (Backoff, Duration)> {
    let parts = (any_duration(), any_duration(), any_jitter(), any::<f64>(), 0..5);
    parts.prop_map(|(base, max, jitter, factor, curve)| match curve {
        0 => (Backoff::exponential(base, max).factor(factor).jitter(jitter), max),
        1 => (Backoff::linear(base, max).jitter(jitter), max),
        2 => (Backoff::constant(base).jitter(jitter), Duration::MAX),
        3 => (Backoff::decorrelated(base, max), max),
        _ => (Backoff::decorrelated_v2(base, max), max),
    })
}

proptest! {
    #[test]
    fn no_delay_is_longer_than_the_cap(
        (backoff, max) in any_backoff(),
        draws in prop::collection::vec(any::<f64>(), 1..100),
    ) {
        let mut delays = Delays::new();
        for random in draws {
            prop_assert!(backoff.next(&mut delays, random) <= max);
        }
    }

    #[test]
    fn larger_draw_never_gives_a_shorter_delay(
        (backoff, _) in any_backoff(), retries in 0..100, low in 0.0..1.0, high in 0.0..1.0,
    ) {
        let mut delays = Delays::new();
        for _ in 0..retries {
            backoff.next(&mut delays, 0.5);
        }
        let (low, high) = if low < high { (low, high) } else { (high, low) };
        let (mut one, mut other) = (delays, delays);
        prop_assert!(backoff.next(&mut one, low) <= backoff.next(&mut other, high));
    }

    #[test]
    fn delays_without_jitter_only_grow(base in any_duration(), max in any_duration(), factor: f64) {
        let backoffs = [
            Backoff::exponential(base, max).factor(factor),
            Backoff::linear(base, max),
        ];
        for backoff in backoffs {
            let backoff = backoff.jitter(Jitter::None);
            let mut delays = Delays::new();
            let all: Vec<_> = (0..200).map(|_| backoff.next(&mut delays, 0.0)).collect();
            prop_assert!(all.is_sorted());
        }
    }
}

#[test]
fn between_keeps_curve_factor_and_jitter() {
    let backoff = Backoff::exponential(SECOND, LONG).factor(3.0).jitter(Jitter::None);
    let backoff = backoff.between(2 * SECOND, 7 * SECOND);
    assert_eq!((backoff.base(), backoff.cap()), (2 * SECOND, 7 * SECOND));
    assert_near(seconds(backoff, [0.7; 3]), [2.0, 6.0, 7.0]);
    let constant = Backoff::constant(SECOND).between(3 * SECOND, LONG);
    assert_near(seconds(constant, [0.7; 3]), [3.0; 3]);
}
