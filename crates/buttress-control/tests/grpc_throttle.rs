//! The gRPC retry throttle of proposal A6.
#![cfg(not(buttress_loom))]

use buttress_control::{Ratio, RetryThrottle};
use proptest::prelude::*;

#[test]
fn bg_15_retries_stop_at_half_of_the_tokens_and_not_before() {
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

#[test]
fn bg_15_an_outcome_that_is_neither_leaves_the_tokens_alone() {
    let throttle = RetryThrottle::new(10, Ratio::of(0.1));
    throttle.failure();
    for _ in 0..100 {
        throttle.allows();
    }
    assert_eq!(throttle.balance(), 9);
}

#[test]
fn an_odd_number_of_tokens_is_halved_exactly() {
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
fn without_tokens_nothing_is_retried() {
    let throttle = RetryThrottle::new(0, Ratio::MAX);
    throttle.success();
    assert!(!throttle.allows());
}

proptest! {
    #[test]
    fn the_tokens_stay_between_none_and_all(
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
