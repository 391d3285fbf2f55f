//! Ratios: exact, and never wrong.
#![cfg(not(buttress_loom))]

use buttress_control::Ratio;
use proptest::prelude::*;

#[test]
fn decimal_fractions_are_exact() {
    for parts in 0..=1_000_000 {
        assert_eq!(Ratio::of(f64::from(parts) / 1e6).parts_per_million(), parts);
    }
}

#[test]
fn invalid_ratio_counts_as_zero_and_excess_as_the_maximum() {
    for fraction in [f64::NAN, -0.1, f64::NEG_INFINITY, 1e-9] {
        assert_eq!(Ratio::of(fraction), Ratio::ZERO);
    }
    for fraction in [1000.0, 1001.0, 1e300, f64::INFINITY] {
        assert_eq!(Ratio::of(fraction), Ratio::MAX);
    }
    assert_eq!(Ratio::percent(u32::MAX), Ratio::MAX);
}

proptest! {
    #[test]
    fn rounded_up_share_is_less_than_one_too_much(parts: u32, whole in 0..1_000_000_000_u64) {
        let ratio = Ratio::per_million(parts);
        let exact = u128::from(ratio.parts_per_million()) * u128::from(whole);
        let share = u128::from(ratio.ceil_of(whole)) * 1_000_000;
        prop_assert!(share >= exact && share - exact < 1_000_000);
    }
}
