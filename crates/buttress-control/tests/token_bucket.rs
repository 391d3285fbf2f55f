//! The retry quota of the AWS SDKs.
#![cfg(not(buttress_loom))]

use std::time::Duration;

use buttress_control::{Nanos, RetryKind, TokenBucket};
use proptest::prelude::*;

const START: Nanos = Nanos::new(0);

fn at(millis: u64) -> Nanos {
    Nanos::from(Duration::from_millis(millis))
}

/// A bucket with nothing in it, whatever it holds.
fn empty(bucket: TokenBucket) -> TokenBucket {
    while bucket.withdraw(START, RetryKind::Error) {}
    bucket
}

#[test]
fn quota_of_500_pays_100_retries_or_50_after_timeouts() {
    for (kind, retries) in [(RetryKind::Error, 100), (RetryKind::Timeout, 50)] {
        let bucket = TokenBucket::default();
        let granted = (0..1000).filter(|_| bucket.withdraw(START, kind)).count();
        assert_eq!(granted, retries);
    }
}

/// smithy-rs, `quota_replenishes_on_first_try_success`.
#[test]
fn first_try_successes_fill_the_bucket_to_its_capacity() {
    let bucket = TokenBucket::new(20);
    assert!(
        bucket.withdraw(START, RetryKind::Timeout) && bucket.withdraw(START, RetryKind::Timeout)
    );
    assert!(!bucket.withdraw(START, RetryKind::Error));
    for filled in 1..=20 {
        bucket.success();
        assert_eq!(bucket.balance(START), filled);
    }
    bucket.success();
    assert_eq!(bucket.balance(START), 20);
}

#[test]
fn successful_retry_returns_its_cost() {
    let bucket = TokenBucket::new(10);
    assert!(bucket.withdraw(START, RetryKind::Timeout));
    bucket.refund(RetryKind::Timeout);
    bucket.refund(RetryKind::Timeout);
    assert_eq!(bucket.balance(START), 10);
}

#[test]
fn full_bucket_counts_the_fill_once() {
    let bucket = TokenBucket::new(10).refill_per_second(1.0);
    assert!(bucket.withdraw(START, RetryKind::Timeout));
    assert_eq!(bucket.balance(at(9000)), 9);
    assert_eq!(bucket.fill_count(), 0);
    assert_eq!(bucket.balance(at(20_000)), 10);
    assert_eq!(bucket.fill_count(), 1);
    bucket.success();
    assert_eq!(bucket.fill_count(), 1);
}

#[test]
fn costs_by_kind_are_options() {
    let bucket = TokenBucket::new(10).costs(1, 0);
    assert!(bucket.withdraw(START, RetryKind::Timeout));
    assert_eq!((0..20).filter(|_| bucket.withdraw(START, RetryKind::Error)).count(), 10);
}

/// smithy-rs, tests of `token_bucket.rs`.
#[test]
fn fractions_of_a_token_add_up() {
    let bucket = empty(TokenBucket::new(10).reward(0.5));
    bucket.success();
    assert_eq!(bucket.balance(START), 0);
    bucket.success();
    assert_eq!(bucket.balance(START), 1);
    for _ in 0..100 {
        bucket.success();
    }
    assert_eq!(bucket.balance(START), 10);
}

/// smithy-rs, tests of `token_bucket.rs`.
#[test]
fn invalid_refill_rate_counts_as_zero() {
    for rate in [f64::NAN, -5.0, f64::INFINITY, f64::NEG_INFINITY, 0.0] {
        let bucket = empty(TokenBucket::new(10).refill_per_second(rate).reward(rate));
        bucket.success();
        assert_eq!(bucket.balance(at(1_000_000_000)), 0, "{rate}");
    }
}

/// smithy-rs, tests of `token_bucket.rs`.
#[test]
fn refill_follows_the_rate_up_to_the_capacity() {
    let cases =
        [(10.0, 2, 20), (0.001, 1100, 1), (0.0001, 11_000, 1), (0.001, 500, 0), (7.0, 60, 100)];
    for (rate, seconds, tokens) in cases {
        let bucket = empty(TokenBucket::new(100).refill_per_second(rate));
        assert_eq!(bucket.balance(at(seconds * 1000)), tokens, "{rate}/s for {seconds} s");
    }
}

#[test]
fn frequent_reads_lose_no_fraction_of_the_refill() {
    let bucket = empty(TokenBucket::new(100).refill_per_second(1.0 / 3.0));
    for nanos in 0..100_000 {
        bucket.balance(Nanos::new(nanos * 30_000));
    }
    assert_eq!(bucket.balance(at(3001)), 1);
}

#[test]
fn earlier_time_refills_nothing_twice() {
    let bucket = empty(TokenBucket::new(100).refill_per_second(1.0));
    assert_eq!(bucket.balance(at(10_000)), 10);
    assert_eq!(bucket.balance(at(0)), 10);
    assert_eq!(bucket.balance(at(10_000)), 10);
}

proptest! {
    #[test]
    fn tokens_never_exceed_the_capacity(
        capacity: u32, rate: f64, reward: f64, times in prop::collection::vec(any::<u64>(), 1..50),
    ) {
        let bucket = TokenBucket::new(capacity).refill_per_second(rate).reward(reward);
        for time in times {
            bucket.withdraw(Nanos::new(time), RetryKind::Error);
            bucket.success();
            bucket.refund(RetryKind::Timeout);
            prop_assert!(bucket.balance(Nanos::new(time)) <= u64::from(capacity));
        }
    }

    #[test]
    fn granted_tokens_were_there_at_first_or_earned(
        capacity in 0..100_u32,
        steps in prop::collection::vec((0..2000_u64, any::<bool>(), any::<bool>()), 1..200),
    ) {
        let bucket = TokenBucket::new(capacity).refill_per_second(2.0);
        let (mut clock, mut earned, mut spent) = (0, u64::from(capacity), 0);
        for (wait, success, timeout) in steps {
            clock += wait;
            if success {
                bucket.success();
                earned += 1;
            }
            let (kind, cost) = if timeout { (RetryKind::Timeout, 10) } else { (RetryKind::Error, 5) };
            if bucket.withdraw(at(clock), kind) {
                spent += cost;
            }
            prop_assert!(spent <= earned + clock / 500);
        }
    }
}
