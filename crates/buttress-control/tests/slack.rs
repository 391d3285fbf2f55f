//! How many calls a limit may keep waiting.
#![cfg(not(buttress_loom))]

use buttress_control::Slack;

/// Netflix concurrency-limits, tests of `limit/functions`.
#[test]
fn log10_counts_the_digits_after_the_first() {
    let at = [0, 1, 9, 10, 99, 100, 999, 1000, 10_000].map(|limit| Slack::log10(1).at(limit));
    assert_eq!(at, [1, 1, 1, 1, 1, 2, 2, 3, 4]);
    assert_eq!(Slack::log10(6).at(10_000), 24);
}

/// Netflix concurrency-limits, tests of `limit/functions`.
#[test]
fn sqrt_has_a_floor() {
    let at = [0, 16, 999, 2500].map(|limit| Slack::sqrt(4).at(limit));
    assert_eq!(at, [4, 4, 31, 50]);
}

#[test]
fn no_limit_is_too_large() {
    assert_eq!(Slack::log10(u32::MAX).at(u32::MAX), u32::MAX);
    assert_eq!(Slack::sqrt(0).at(u32::MAX), 65_535);
    assert_eq!(Slack::constant(7).at(u32::MAX), 7);
}
