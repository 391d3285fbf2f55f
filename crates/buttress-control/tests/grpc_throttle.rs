//! The gRPC retry throttle of proposal A6.
#![cfg(not(buttress_loom))]

use buttress_control::{Ratio, RetryThrottle};
use proptest::prelude::*;

/// gRPC proposal A6, "Throttling Retry Attempts and Hedged RPCs".
#[test]
fn retries_stop_at_half_of_the_tokens() {
    let throttle = RetryThrottle::new(10, Ratio::of(0.1));
    for _ in 0..4 {
        throttle.failure();
        assert!(throttle.allows());
    }
    throttle.failure();
    assert!(!throttle.allows(), "5 of 10 is not more than half");
    throttle.success();
    assert!(throttle.allows(), "5.1 is");
}

/// gRPC proposal A6, "Throttling Retry Attempts and Hedged RPCs".
#[test]
fn uncounted_outcome_changes_no_tokens() {
    let throttle = RetryThrottle::new(10, Ratio::of(0.1));
    throttle.failure();
    for _ in 0..100 {
        throttle.allows();
    }
    assert_eq!(throttle.balance(), 9);
}

#[test]
fn odd_number_of_tokens_is_halved_exactly() {
    let throttle = RetryThrottle::new(3, Ratio::of(0.5));
    throttle.failure();
    assert!(throttle.allows(), "2 of 3");
    throttle.failure();
    throttle.success();
    assert!(!throttle.allows(), "1.5 of 3");
}

#[test]
fn three_decimals_of_the_ratio_count() {
    let throttle = RetryThrottle::new(2, Ratio::of(0.0019));
    throttle.failure();
    for _ in 0..999 {
        throttle.success();
    }
    assert_eq!(throttle.balance(), 1);
    throttle.success();
    assert_eq!(throttle.balance(), 2);
}

#[test]
fn throttle_without_tokens_allows_no_retry() {
    let throttle = RetryThrottle::new(0, Ratio::MAX);
    throttle.success();
    assert!(!throttle.allows());
}

proptest! {
    #[test]
    fn tokens_stay_between_zero_and_the_maximum(
        max in 0..1000_u32, parts: u32, outcomes in prop::collection::vec(any::<bool>(), 0..500),
    ) {
        let ratio = Ratio::per_million(parts);
        let throttle = RetryThrottle::new(max, ratio);
        let (max, ratio) = (i64::from(max) * 1000, i64::from(ratio.parts_per_million() / 1000));
        let mut expected = max;
        for success in outcomes {
            if success { throttle.success() } else { throttle.failure() }
            expected = (expected + if success { ratio } else { -1000 }).clamp(0, max);
            prop_assert_eq!(i64::try_from(throttle.balance()), Ok(expected / 1000));
            prop_assert_eq!(throttle.allows(), expected * 2 > max);
        }
    }
}
