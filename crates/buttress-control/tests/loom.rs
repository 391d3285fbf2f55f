//! The shared laws under every interleaving of up to three threads:
//! `RUSTFLAGS="--cfg buttress_loom" cargo test -p buttress-control --test loom --release`.
#![cfg(buttress_loom)]
#![expect(clippy::unwrap_used, reason = "a thread that panicked has failed the test")]

use std::time::Duration;

use buttress_control::{Nanos, Ratio, RetryBudget, RetryKind, RetryThrottle, TokenBucket};
use loom::sync::Arc;
use loom::thread;

const START: Nanos = Nanos::new(0);
const SECOND: Duration = Duration::from_secs(1);

/// Runs three closures at once, the last on this thread, and returns what they return.
fn together<T: 'static, A, B>(one: A, two: B, three: impl FnOnce() -> T) -> [T; 3]
where
    A: FnOnce() -> T + 'static,
    B: FnOnce() -> T + 'static,
{
    let (one, two) = (thread::spawn(one), thread::spawn(two));
    let three = three();
    [one.join().unwrap(), two.join().unwrap(), three]
}

#[test]
fn two_tokens_are_granted_to_exactly_two_of_three() {
    loom::model(|| {
        let budget = Arc::new(RetryBudget::new(SECOND, 2, Ratio::ZERO));
        let (one, two) = (budget.clone(), budget.clone());
        let granted = together(
            move || one.withdraw(START, 1),
            move || two.withdraw(START, 1),
            || budget.withdraw(START, 1),
        );
        assert_eq!(granted.iter().filter(|granted| **granted).count(), 2);
        assert_eq!(budget.balance(START), 0);
    });
}

#[test]
fn a_token_deposited_meanwhile_is_granted_once_at_most_and_is_never_lost() {
    loom::model(|| {
        let budget = Arc::new(RetryBudget::new(SECOND, 0, Ratio::percent(100)));
        let (one, two) = (budget.clone(), budget.clone());
        let granted = together(
            move || {
                one.deposit(START);
                false
            },
            move || two.withdraw(START, 1),
            || budget.withdraw(START, 1),
        );
        let granted = granted.iter().filter(|granted| **granted).count() as u64;
        assert_eq!(granted + budget.balance(START), 1);
    });
}

#[test]
fn deposits_that_meet_in_a_slot_of_an_older_turn_both_count() {
    loom::model(|| {
        let budget = Arc::new(RetryBudget::new(SECOND, 0, Ratio::percent(100)));
        for _ in 0..3 {
            budget.deposit(START);
        }
        let later = Nanos::from(20 * SECOND);
        let (one, two) = (budget.clone(), budget.clone());
        let granted = together(
            move || {
                one.deposit(later);
                false
            },
            move || {
                two.deposit(later);
                false
            },
            || budget.withdraw(later, 3),
        );
        assert_eq!(granted, [false; 3], "the first three have expired");
        assert_eq!(budget.balance(later), 2);
    });
}

#[test]
fn a_withdrawal_that_moves_the_window_on_keeps_a_late_deposit() {
    loom::model(|| {
        let budget = Arc::new(RetryBudget::new(SECOND, 1, Ratio::percent(100)));
        let later = Nanos::from(20 * SECOND);
        let (one, two) = (budget.clone(), budget.clone());
        let granted = together(
            move || {
                one.deposit(later);
                false
            },
            move || two.withdraw(later, 1),
            || budget.withdraw(START, 1),
        );
        let granted = granted.iter().filter(|granted| **granted).count() as u64;
        let left = budget.balance(later);
        // The floor of each window, and the deposit; what was withdrawn at first may have expired.
        assert!((2..=3).contains(&(granted + left)), "{granted} and {left}");
    });
}

#[test]
fn a_refund_is_withdrawn_once() {
    loom::model(|| {
        let budget = Arc::new(RetryBudget::new(SECOND, 1, Ratio::ZERO));
        assert!(budget.withdraw(START, 1));
        let (one, two) = (budget.clone(), budget.clone());
        let granted = together(
            move || {
                one.refund(START, 1);
                false
            },
            move || two.withdraw(START, 1),
            || budget.withdraw(START, 1),
        );
        let granted = granted.iter().filter(|granted| **granted).count() as u64;
        assert_eq!(granted + budget.balance(START), 1);
    });
}

#[test]
fn a_throttle_loses_no_outcome() {
    loom::model(|| {
        let throttle = Arc::new(RetryThrottle::new(5, Ratio::percent(100)));
        for _ in 0..3 {
            throttle.failure();
        }
        let (one, two) = (throttle.clone(), throttle.clone());
        together(move || one.success(), move || two.success(), || throttle.failure());
        assert_eq!(throttle.balance(), 3);
    });
}

#[test]
fn a_refill_pays_everybody_who_came_after_it_was_due() {
    loom::model(|| {
        let bucket = Arc::new(TokenBucket::new(2).costs(1, 2).refill_per_second(1.0));
        assert!(bucket.withdraw(START, RetryKind::Timeout));
        let later = Nanos::from(2 * SECOND);
        let (one, two) = (bucket.clone(), bucket.clone());
        let granted = together(
            move || one.withdraw(later, RetryKind::Error),
            move || two.withdraw(later, RetryKind::Error),
            || bucket.withdraw(later, RetryKind::Error),
        );
        assert_eq!(granted.iter().filter(|granted| **granted).count(), 2);
    });
}
