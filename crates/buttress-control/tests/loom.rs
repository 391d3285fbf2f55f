//! The shared laws under every interleaving of up to three threads:
//! `RUSTFLAGS="--cfg buttress_loom" cargo test -p buttress-control --test loom --release`.
#![cfg(buttress_loom)]
#![expect(clippy::unwrap_used, reason = "a thread that panicked has failed the test")]

use std::time::Duration;

use buttress_control::{
    AcceptRatio, Backoff, Circuit, CircuitHost, CircuitOutcome, CircuitRules, CircuitState, Gcra,
    Nanos, Rate, Rates, Ratio, RetryBudget, RetryKind, RetryThrottle, TokenBucket,
};
use loom::sync::Arc;
use loom::thread;

const START: Nanos = Nanos::new(0);
const SECOND: Duration = Duration::from_secs(1);

/// Runs three closures at once, the last on this thread, and returns their results.
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
fn concurrently_deposited_token_is_granted_at_most_once_and_never_lost() {
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
fn concurrent_deposits_in_an_older_slot_both_count() {
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
fn withdrawal_that_moves_the_window_keeps_a_late_deposit() {
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
        // The floor of each window, and the deposit. The first withdrawal may have expired.
        assert!((2..=3).contains(&(granted + left)), "{granted} and {left}");
    });
}

#[test]
fn refund_is_withdrawn_once() {
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
fn retry_throttle_loses_no_outcome() {
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
fn due_refill_pays_every_later_withdrawal() {
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

fn passed(granted: [bool; 3]) -> usize {
    granted.iter().filter(|granted| **granted).count()
}

#[test]
fn two_cells_of_a_rate_are_granted_to_exactly_two_of_three() {
    loom::model(|| {
        let limit = Arc::new(Gcra::new(Rate::per_second(2)));
        let (one, two) = (limit.clone(), limit.clone());
        let granted = together(
            move || one.take(START, 1).is_ok(),
            move || two.take(START, 1).is_ok(),
            || limit.take(START, 1).is_ok(),
        );
        assert_eq!(passed(granted), 2);
        assert_eq!(limit.tokens(START), 0);
        assert_eq!(limit.full_in(START), SECOND);
    });
}

#[test]
fn concurrent_reservations_act_one_after_the_other() {
    loom::model(|| {
        let limit = Arc::new(Gcra::new(Rate::per_second(1)));
        let (one, two) = (limit.clone(), limit.clone());
        let seconds = |limit: &Gcra| {
            let one = limit.reserve(START, 1, Duration::MAX).unwrap();
            one.at().get() / Nanos::from(SECOND).get()
        };
        let mut at = together(move || seconds(&one), move || seconds(&two), || seconds(&limit));
        at.sort_unstable();
        assert_eq!(at, [0, 1, 2]);
    });
}

#[test]
fn cancel_beside_a_reservation_frees_its_time_once() {
    loom::model(|| {
        let limit = Arc::new(Gcra::new(Rate::per_second(1)));
        limit.take(START, 1).unwrap();
        let leaves = limit.reserve(START, 1, SECOND).unwrap();
        let (one, two) = (limit.clone(), limit.clone());
        let [_, second, third] = together(
            move || {
                one.cancel(START, &leaves);
                0
            },
            move || two.reserve(START, 1, Duration::MAX).unwrap().at().get(),
            || limit.reserve(START, 1, Duration::MAX).unwrap().at().get(),
        );
        let mut at = [second, third].map(|at| at / Nanos::from(SECOND).get());
        at.sort_unstable();
        // Before the first reservation, or between them, or after both, when its turn stays empty.
        assert!(matches!(at, [1, 2] | [2, 3]), "{at:?}");
        let full = Duration::from_secs(at[1] + 1);
        assert_eq!(limit.full_in(START), full);
    });
}

#[test]
fn two_cancels_beside_a_take_give_back_exactly_their_cells() {
    loom::model(|| {
        let limit = Arc::new(Gcra::new(Rate::per_second(4)));
        let four = limit.reserve(START, 3, SECOND).unwrap();
        let three = limit.reserve(START, 1, SECOND).unwrap();
        let (one, two) = (limit.clone(), limit.clone());
        let granted = together(
            move || {
                one.cancel(START, &four);
                false
            },
            move || {
                two.cancel(START, &three);
                false
            },
            || limit.take(START, 2).is_ok(),
        );
        let used = if granted[2] { 2 } else { 0 };
        // What was reserved later, or taken on top, is not given back with the one below it.
        assert!((1..=4 - used).contains(&limit.tokens(START)), "{}", limit.tokens(START));
    });
}

#[test]
fn two_rates_admit_all_or_nothing_and_never_more_than_either_allows() {
    // Three callers of two words each have more interleavings than can be walked.
    loom::model(|| {
        let limit = Arc::new(Rates::new(Rate::per_second(2)).and(Rate::per_minute(1)));
        let one = limit.clone();
        let one = thread::spawn(move || one.take(START, 1).is_ok());
        let two = limit.take(START, 1).is_ok();
        assert!(one.join().unwrap() ^ two);
        let left: Vec<_> = limit.laws().map(|law| law.tokens(START)).collect();
        // A cell given back from beneath another may be lost, but is never granted twice.
        assert!(left[0] <= 1 && left[1] == 0, "{left:?}");
    });
}

#[test]
fn set_rate_beside_a_take_keeps_the_taken_cells() {
    loom::model(|| {
        let limit = Arc::new(Gcra::new(Rate::per_second(2)));
        limit.take(START, 1).unwrap();
        let (one, two) = (limit.clone(), limit.clone());
        let granted = together(
            move || {
                one.set_rate(START, Rate::per_second(4));
                false
            },
            move || two.take(START, 1).is_ok(),
            || limit.take(START, 1).is_ok(),
        );
        let left = limit.tokens(START);
        assert!(granted[1] || granted[2]);
        // A take that read the old rate and lands after the change is charged as two of the new one.
        assert!((0..=2).contains(&left), "{left}");
    });
}

#[test]
fn requests_beside_an_accept_all_count() {
    loom::model(|| {
        let throttle = Arc::new(AcceptRatio::new().window(SECOND));
        (0..3).for_each(|_| assert!(throttle.attempt(START, 1.0)));
        let (one, two) = (throttle.clone(), throttle.clone());
        together(
            move || assert!(one.attempt(START, 1.0)),
            move || two.forget(START),
            || throttle.accept(START),
        );
        let found = throttle.rejection_probability(START);
        assert!((found - 0.25).abs() < 1e-9, "{found} is not 3 requests for 1 accept");
    });
}

/// Explores all orders of up to two preemptions: those of a circuit are too many for all.
fn explore(run: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(run);
}

struct Still;

impl CircuitHost for Still {
    fn now(&self) -> Nanos {
        START
    }

    fn draw(&self) -> f64 {
        0.0
    }
}

/// The minimum is out of reach, and one failure opens a circuit for no time at all.
fn circuit() -> Arc<Circuit> {
    let rules = CircuitRules::new().open_for(Backoff::none()).probes(1, 1).ramp(SECOND, &[]);
    Arc::new(Circuit::new(rules.failures(Ratio::percent(50), 100)))
}

#[test]
fn one_probe_of_three_is_admitted() {
    explore(|| {
        let circuit = circuit();
        circuit.open(&Still);
        let ask = |circuit: Arc<Circuit>| move || circuit.admit(false, &Still).is_ok();
        let admitted = together(ask(circuit.clone()), ask(circuit.clone()), ask(circuit.clone()));
        assert_eq!(admitted.iter().filter(|admitted| **admitted).count(), 1);
        assert_eq!(circuit.state(), CircuitState::HalfOpen);
    });
}

#[test]
fn no_success_of_a_closed_circuit_is_lost() {
    explore(|| {
        let circuit = circuit();
        // Enough in one slot that the next successes need no clock.
        for _ in 0..4 {
            let pass = circuit.admit(false, &Still).unwrap().unwrap();
            circuit.settle(pass, CircuitOutcome::Success, false, &Still);
        }
        let call = |circuit: Arc<Circuit>, outcome| {
            move || {
                let pass = circuit.admit(false, &Still).unwrap().unwrap();
                circuit.settle(pass, outcome, false, &Still);
            }
        };
        together(
            call(circuit.clone(), CircuitOutcome::Success),
            call(circuit.clone(), CircuitOutcome::Success),
            call(circuit.clone(), CircuitOutcome::Failure),
        );
        let counts = circuit.counts(START);
        assert_eq!((counts.calls, counts.failures), (7, 1));
    });
}

#[test]
fn no_success_from_before_a_change_counts_after_it() {
    explore(|| {
        let circuit = circuit();
        let settle = |circuit: Arc<Circuit>| {
            let pass = circuit.admit(false, &Still).unwrap().unwrap();
            move || circuit.settle(pass, CircuitOutcome::Success, false, &Still)
        };
        let (one, two) = (settle(circuit.clone()), settle(circuit.clone()));
        let changed = circuit.clone();
        together(one, two, move || {
            changed.open(&Still);
            changed.close(&Still);
            assert_eq!(changed.counts(START).calls, 0);
        });
        assert_eq!(circuit.counts(START).calls, 0);
    });
}

#[test]
fn place_of_a_probe_is_free_again_after_a_neutral_outcome() {
    explore(|| {
        let circuit = circuit();
        circuit.open(&Still);
        let probe = circuit.admit(false, &Still).unwrap().unwrap();
        let given_back = circuit.clone();
        let asked = circuit.clone();
        let [_, admitted, _] = together(
            move || {
                given_back.settle(probe, CircuitOutcome::Neutral, false, &Still);
                false
            },
            move || asked.admit(false, &Still).is_ok(),
            || false,
        );
        assert_eq!(circuit.admit(false, &Still).is_ok(), !admitted);
    });
}
