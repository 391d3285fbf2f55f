//! A budget as a layer uses it that makes additional calls: payments, refunds and their drops.

use std::time::Duration;

use buttress_control::{Ratio, RetryKind, RetryThrottle, TokenBucket};
use buttress_core::{Attempt, InnerReport};
use buttress_state::{Budget, Withdrawal};
use tokio::time::advance;

/// A budget of one retry per call, without a reserve.
fn one_each() -> Budget {
    Budget::new(Ratio::percent(100), 0)
}

#[tokio::test(start_paused = true)]
async fn budget_pays_for_a_retry_per_deposit() {
    let budget = one_each();
    assert!(budget.withdraw(RetryKind::Error).is_none());
    budget.deposit();
    budget.deposit();
    for balance in [1, 0] {
        budget.withdraw(RetryKind::Error).unwrap().spend();
        assert_eq!(budget.balance(), Some(balance));
    }
    assert!(budget.withdraw(RetryKind::Timeout).is_none());
}

#[test]
fn ratio_is_that_of_a_budget_by_ratio() {
    assert_eq!(Budget::new(Ratio::percent(5), 3).ratio(), Some(Ratio::percent(5)));
    assert_eq!(Budget::new(Ratio::MAX, 0).ratio(), Some(Ratio::MAX));
    assert_eq!(Budget::unlimited().ratio(), None);
    let throttle = Budget::throttle(RetryThrottle::new(10, Ratio::percent(10)));
    assert_eq!(throttle.ratio(), None);
}

#[tokio::test(start_paused = true)]
async fn dropped_withdrawal_is_refunded() {
    let budget = one_each();
    budget.deposit();
    drop(budget.withdraw(RetryKind::Error).unwrap());
    assert_eq!(budget.balance(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn withdrawal_is_refunded_to_its_account_when_the_budget_is_dropped_first() {
    let budget = one_each();
    budget.deposit();
    let same = budget.clone();
    let withdrawal = budget.withdraw(RetryKind::Error).unwrap();
    drop(budget);
    assert_eq!(same.balance(), Some(0));
    drop(withdrawal);
    assert_eq!(same.balance(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn spent_payment_can_be_refunded_or_held_again() {
    let budget = one_each();
    budget.deposit();
    let paid = budget.withdraw(RetryKind::Error).unwrap().spend();
    assert_eq!(budget.balance(), Some(0));
    budget.refund(paid.unwrap());
    assert_eq!(budget.balance(), Some(1));
    let paid = budget.withdraw(RetryKind::Error).unwrap().spend();
    drop(Withdrawal::of(&budget, paid));
    assert_eq!(budget.balance(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn free_withdrawal_has_no_payment() {
    assert_eq!(Withdrawal::FREE.spend(), None);
    assert_eq!(Withdrawal::of(&one_each(), None).spend(), None);
}

#[tokio::test(start_paused = true)]
async fn payment_refunded_to_a_budget_of_another_kind_changes_nothing() {
    let (budget, bucket) = (one_each(), Budget::tokens(TokenBucket::default()));
    budget.deposit();
    let full = bucket.balance();
    bucket.refund(budget.withdraw(RetryKind::Error).unwrap().spend().unwrap());
    budget.refund(bucket.withdraw(RetryKind::Error).unwrap().spend().unwrap());
    assert_eq!(budget.balance(), Some(0));
    assert!(bucket.balance() < full);
    let unlimited = Budget::unlimited();
    budget.refund(unlimited.withdraw(RetryKind::Error).unwrap().spend().unwrap());
    assert_eq!(budget.balance(), Some(0));
    assert_eq!(unlimited.balance(), None);
}

#[tokio::test(start_paused = true)]
async fn refund_does_not_outlive_the_window() {
    let budget = Budget::over(Duration::from_secs(1), Ratio::percent(100), 0);
    budget.deposit();
    let withdrawal = budget.withdraw(RetryKind::Error).unwrap();
    advance(Duration::from_secs(5)).await;
    drop(withdrawal);
    assert_eq!(budget.balance(), Some(0));
}

/// gRFC A6: no retries while half of the tokens or fewer are left.
#[tokio::test(start_paused = true)]
async fn throttle_pays_until_half_of_its_tokens_are_lost() {
    let budget = Budget::throttle(RetryThrottle::new(4, Ratio::percent(100)));
    assert!(budget.withdraw(RetryKind::Error).is_some());
    budget.failed(true);
    assert_eq!(budget.balance(), Some(4));
    budget.failed(false);
    budget.failed(false);
    assert!(budget.withdraw(RetryKind::Error).is_none());
    budget.succeeded(None, InnerReport::EMPTY);
    assert!(budget.withdraw(RetryKind::Error).is_some());
}

#[tokio::test(start_paused = true)]
async fn call_is_counted_once_by_layers_that_share_a_budget() {
    let budget = one_each();
    budget.deposit();
    budget.tally().run(Attempt::FIRST, || budget.clone().deposit());
    assert_eq!(budget.balance(), Some(1));
}

#[test]
fn clones_of_a_budget_share_the_account() {
    let budget = one_each();
    assert!(budget.shares_account_with(&budget.clone()));
    assert!(budget.shares_account_with(&budget.withdraw_only()));
    assert!(!budget.shares_account_with(&one_each()));
}
