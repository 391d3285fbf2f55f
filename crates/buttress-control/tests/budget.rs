//! The retry budget: published values, the window, and regressions of other budgets.
#![cfg(not(buttress_loom))]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use buttress_control::{Nanos, Ratio, RetryBudget};

const SECOND: Duration = Duration::from_secs(1);
const DAY: u64 = 24 * 60 * 60 * 1000;

fn at(millis: u64) -> Nanos {
    Nanos::from(Duration::from_millis(millis))
}

fn deposits(budget: &RetryBudget, millis: u64, count: u32) {
    for _ in 0..count {
        budget.deposit(at(millis));
    }
}

fn withdrawals(budget: &RetryBudget, millis: u64) -> usize {
    std::iter::from_fn(|| budget.withdraw(at(millis), 1).then_some(())).take(1_000_000).count()
}

/// Finagle, `RetryBudgetTest`.
#[test]
fn floor_grants_exactly_ten_tokens() {
    for (ttl, floor) in [(SECOND, 10), (2 * SECOND, 5)] {
        let budget = RetryBudget::new(ttl, floor, Ratio::ZERO);
        assert_eq!(budget.balance(at(0)), 10);
        deposits(&budget, 0, 1000);
        assert_eq!(withdrawals(&budget, 0), 10);
        assert_eq!(budget.balance(at(0)), 0);
    }
}

/// Finagle, `RetryBudgetTest`.
#[test]
fn ratio_of_two_grants_twenty_thousand_tokens_for_ten_thousand_deposits() {
    let budget = RetryBudget::new(60 * SECOND, 0, Ratio::of(2.0));
    assert!(!budget.withdraw(at(0), 1));
    deposits(&budget, 0, 10_000);
    assert_eq!(budget.balance(at(0)), 20_000);
    assert_eq!(withdrawals(&budget, 0), 20_000);
}

#[test]
fn every_ratio_is_exact() {
    // tower's budget grants 100 % from 0.51 on, and 33 % for 0.3.
    for ratio in [0.0001, 0.001, 0.01, 0.1, 0.25, 0.3, 0.5, 0.51, 0.75, 0.99, 0.9999, 1.0, 3.7] {
        let budget = RetryBudget::new(60 * SECOND, 0, Ratio::of(ratio));
        deposits(&budget, 0, 10_000);
        let expected = (ratio * 10_000.0).round();
        assert!(
            (f64::from(u32::try_from(withdrawals(&budget, 0)).unwrap()) - expected).abs() < 0.5
        );
    }
}

/// tower, tests of `tps_budget.rs`.
#[test]
fn deposit_has_expired_after_three_windows() {
    let budget = RetryBudget::new(SECOND, 0, Ratio::percent(100));
    budget.deposit(at(0));
    assert!(!budget.withdraw(at(3000), 1));
}

/// tower, tests of `tps_budget.rs`.
#[test]
fn two_half_tokens_make_one_within_the_window() {
    let budget = RetryBudget::new(SECOND, 0, Ratio::percent(50));
    deposits(&budget, 0, 2);
    assert!(budget.withdraw(at(901), 1));
    assert!(!budget.withdraw(at(901), 1));
}

/// tower, tests of `tps_budget.rs`.
#[test]
fn first_of_three_deposits_has_expired_and_the_others_count() {
    let budget = RetryBudget::new(SECOND, 0, Ratio::percent(50));
    for millis in [0, 301, 1102] {
        budget.deposit(at(millis));
    }
    assert_eq!(withdrawals(&budget, 1102), 1);
    budget.deposit(at(1102));
    assert!(!budget.withdraw(at(1102), 1), "the first does not make up the second token");
}

#[test]
fn deposit_counts_for_its_ttl_and_at_most_a_thirtieth_longer() {
    for start in 0..2000 {
        let budget = RetryBudget::new(SECOND, 0, Ratio::percent(100));
        budget.deposit(at(start));
        assert_eq!(budget.balance(at(start + 1000)), 1);
        assert_eq!(budget.balance(at(start + 1034)), 0);
    }
}

#[test]
fn only_the_floor_is_left_after_any_idle_time() {
    for idle in [1034, DAY, 7 * DAY, 200 * 365 * DAY] {
        let budget = RetryBudget::new(SECOND, 10, Ratio::percent(100));
        deposits(&budget, 0, 50);
        assert_eq!(withdrawals(&budget, 0), 60);
        assert_eq!(withdrawals(&budget, idle), 10);
    }
}

#[test]
fn thousand_concurrent_withdrawals_share_a_hundred_tokens() {
    let budget = RetryBudget::new(SECOND, 100, Ratio::ZERO);
    let granted = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..125 {
                    granted.fetch_add(budget.withdraw(at(0), 1).into(), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(granted.into_inner(), 100);
}

#[test]
fn concurrent_deposits_all_count() {
    let budget = RetryBudget::new(SECOND, 0, Ratio::percent(10));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| deposits(&budget, 0, 10_000));
        }
    });
    assert_eq!(budget.balance(at(0)), 4000);
}

/// Finagle, `RequeueFilterTest`.
#[test]
fn half_of_nine_tokens_is_five_retries() {
    let budget = RetryBudget::new(SECOND, 10, Ratio::ZERO);
    assert!(budget.withdraw(at(0), 1));
    assert_eq!(Ratio::percent(50).ceil_of(budget.balance(at(0))), 5);
}

#[test]
fn cost_is_taken_whole_or_not_at_all() {
    let budget = RetryBudget::new(SECOND, 10, Ratio::ZERO);
    assert!(budget.withdraw(at(0), 7));
    assert!(!budget.withdraw(at(0), 4));
    assert!(budget.withdraw(at(0), 3));
    assert!(budget.withdraw(at(0), 0), "nothing is always there");
    assert!(!budget.withdraw(at(0), u32::MAX));
}

#[test]
fn refund_can_be_withdrawn_again_once() {
    let budget = RetryBudget::new(SECOND, 10, Ratio::ZERO);
    assert!(budget.withdraw(at(0), 6) && budget.withdraw(at(500), 4));
    budget.refund(at(0), 5);
    assert_eq!(withdrawals(&budget, 600), 5);
}

#[test]
fn refund_of_an_old_withdrawal_keeps_a_younger_withdrawal() {
    let budget = RetryBudget::new(SECOND, 10, Ratio::ZERO);
    let old = budget.try_withdraw(at(0), 5).unwrap();
    assert!(budget.withdraw(at(900), 5));
    budget.refund(old, 5);
    assert_eq!(withdrawals(&budget, 1100), 5, "what was taken at 900 ms still counts");
}

#[test]
fn refund_without_a_live_withdrawal_makes_no_tokens() {
    let budget = RetryBudget::new(SECOND, 10, Ratio::ZERO);
    budget.refund(at(0), 5);
    assert_eq!(budget.balance(at(0)), 10);
    assert!(budget.withdraw(at(0), 10));
    assert!(budget.withdraw(at(5000), 10));
    for date in [0, 2000, 4000, 9000, DAY] {
        budget.refund(at(date), 10);
        assert_eq!(budget.balance(at(5000)), 0, "{date}");
    }
}

#[test]
fn withdrawal_at_an_earlier_time_is_refunded_where_it_counts() {
    let budget = RetryBudget::new(SECOND, 10, Ratio::ZERO);
    assert!(budget.withdraw(at(5000), 4));
    let taken = budget.try_withdraw(at(10), 6).unwrap();
    assert_eq!(taken, at(5000));
    budget.refund(taken, 6);
    assert_eq!(budget.balance(at(5000)), 6);
}

#[test]
fn withdrawal_expires_with_its_window() {
    let budget = RetryBudget::new(SECOND, 10, Ratio::ZERO);
    assert!(budget.withdraw(at(0), 10));
    assert_eq!(budget.balance(at(1000)), 0);
    assert_eq!(budget.balance(at(1034)), 10);
}

#[test]
fn ratio_holds_over_a_long_run() {
    let budget = RetryBudget::new(SECOND, 0, Ratio::percent(30));
    let mut granted = 0;
    for milli in 0..60_000 {
        budget.deposit(at(milli));
        granted += u32::from(budget.withdraw(at(milli), 1));
    }
    assert!((17_900..=18_000).contains(&granted), "{granted} of 60,000");
}

#[test]
fn earlier_time_makes_no_tokens_and_loses_none() {
    let budget = RetryBudget::new(SECOND, 10, Ratio::percent(100));
    assert_eq!(withdrawals(&budget, DAY), 10);
    assert_eq!(withdrawals(&budget, 0), 0);
    budget.deposit(at(0));
    budget.deposit(at(DAY));
    assert_eq!(withdrawals(&budget, 0), 2);
    assert_eq!(withdrawals(&budget, DAY), 0);
    assert_eq!(withdrawals(&budget, DAY + 1034), 10);
}

#[test]
fn deposit_far_ahead_does_not_block_its_slot() {
    let budget = RetryBudget::new(SECOND, 0, Ratio::percent(100));
    for slot in 0..32 {
        budget.deposit(at(200 * 365 * DAY + slot * 32));
    }
    deposits(&budget, 0, 3);
    assert_eq!(withdrawals(&budget, 0), 3);
}

#[test]
fn extreme_options_have_a_meaning() {
    let never = RetryBudget::new(Duration::ZERO, 0, Ratio::of(f64::NAN));
    never.deposit(at(0));
    assert!(!never.withdraw(at(0), 1));

    let short = RetryBudget::new(Duration::ZERO, 50, Ratio::ZERO);
    assert_eq!(short.balance(at(0)), 1, "20 ms of 50 per second");

    let huge = RetryBudget::new(Duration::MAX, u32::MAX, Ratio::of(f64::INFINITY));
    huge.deposit(Nanos::new(u64::MAX));
    assert_eq!(huge.balance(Nanos::new(u64::MAX)), 1_000_000_001_000);
    assert!(huge.withdraw(Nanos::new(u64::MAX), u32::MAX));
}
