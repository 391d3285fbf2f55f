//! The law of the retry budget, against a list of everything that happened.
#![cfg(not(buttress_loom))]

use std::time::Duration;

use buttress_control::{Nanos, Ratio, RetryBudget};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Deposit {
        late_by: u64,
    },
    Withdraw {
        cost: u32,
        late_by: u64,
    },
    /// Of the withdrawal at this place among those that were made, counted from the front, round and round.
    Refund(usize),
}

/// Everything that happened, by the time the window had reached.
#[derive(Default)]
struct History {
    latest: u64,
    /// The time a deposit gave, and the latest time that anybody had seen.
    deposits: Vec<(u64, u64)>,
    withdrawals: Vec<Withdrawal>,
}

struct Withdrawal {
    time: u64,
    cost: u32,
    taken: Nanos,
}

impl History {
    /// By the newest clock of all: a deposit that has expired by it may have made room for a new one.
    fn least_credit(&self, clock: u64) -> u64 {
        self.deposits.iter().filter(|(given, _)| given + TTL > clock).count() as u64
    }

    fn most_credit(&self) -> u64 {
        self.deposits.iter().filter(|(_, seen)| seen + LONGEST > self.latest).count() as u64
    }

    fn withdrawn(&self, within: u64) -> u64 {
        let live = self.withdrawals.iter().filter(|made| made.time + within > self.latest);
        live.map(|made| u64::from(made.cost)).sum()
    }
}

/// Keeps a budget and its history side by side, and compares them at every withdrawal.
fn run(steps: Vec<Step>, ratio: Ratio, floor: u32, punctual: bool) -> Result<(), TestCaseError> {
    let budget = RetryBudget::new(Duration::from_millis(TTL), floor, ratio);
    let at = |millis| Nanos::from(Duration::from_millis(millis));
    let millionths = |deposits| deposits * u64::from(ratio.parts_per_million());
    let (reserve, token) = (u64::from(floor) * 1_000_000, 1_000_000);
    let mut history = History::default();
    let mut clock = 20_000_u64;
    for step in steps {
        match step {
            Step::Wait(millis) => clock += millis,
            Step::Deposit { late_by } => {
                budget.deposit(at(clock - late_by));
                history.deposits.push(((clock - late_by).max(history.latest), clock));
            }
            Step::Withdraw { cost, late_by } => {
                history.latest = history.latest.max(clock - late_by);
                let wanted = |withdrawn: u64| (withdrawn + u64::from(cost)) * token;
                if let Some(taken) = budget.try_withdraw(at(clock - late_by), cost) {
                    let credit = millionths(history.most_credit()) + reserve;
                    prop_assert!(wanted(history.withdrawn(TTL)) <= credit);
                    let time = history.latest;
                    history.withdrawals.push(Withdrawal { time, cost, taken });
                } else if punctual {
                    let credit = millionths(history.least_credit(clock)) + reserve;
                    prop_assert!(wanted(history.withdrawn(LONGEST)) > credit);
                }
            }
            Step::Refund(place) => {
                if let Some(place) = place.checked_rem(history.withdrawals.len()) {
                    let Withdrawal { cost, taken, .. } = history.withdrawals.swap_remove(place);
                    budget.refund(taken, cost);
                }
            }
        }
    }
    Ok(())
}

fn steps(latest: u64) -> impl Strategy<Value = Vec<Step>> {
    let wait = prop_oneof![0..50_u64, 0..500_u64, 0..5000_u64].prop_map(Step::Wait);
    let late = move || prop_oneof![Just(0), 0..100_u64, 0..latest];
    let deposit = late().prop_map(|late_by| Step::Deposit { late_by });
    let withdraw = (1..4_u32, late()).prop_map(|(cost, late_by)| Step::Withdraw { cost, late_by });
    let refund = any::<usize>().prop_map(Step::Refund);
    let step = prop_oneof![2 => wait, 6 => deposit, 4 => withdraw, 2 => refund];
    prop::collection::vec(step, 1..400)
}

fn ratios() -> impl Strategy<Value = Ratio> {
    (0..3_000_000_u32).prop_map(Ratio::per_million)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn withdrawals_of_a_window_are_covered_and_covered_ones_are_granted(
        steps in steps(900), ratio in ratios(), floor in 0..5_u32,
    ) {
        run(steps, ratio, floor, true)?;
    }

    #[test]
    fn withdrawals_of_a_window_are_covered_when_the_time_steps_back(
        steps in steps(20_000), ratio in ratios(), floor in 0..5_u32,
    ) {
        run(steps, ratio, floor, false)?;
    }
}

const TTL: u64 = 1000;
/// A thirtieth longer, and the millisecond that began.
const LONGEST: u64 = 1035;
