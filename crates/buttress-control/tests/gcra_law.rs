//! The law of rate limits, against a list of everything that was granted.
#![cfg(not(buttress_loom))]
#![expect(clippy::indexing_slicing, reason = "an index out of range has failed the test")]

use std::time::Duration;

use buttress_control::{Denied, Nanos, Rate, Rates, Reservation};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Take { cells: u32, late_by: u64 },
    Reserve { cells: u32, patience: u64, late_by: u64 },
    Cancel(usize),
}

/// What was granted and not cancelled: when it acts, and how many cells it has.
#[derive(Debug, Default)]
struct Granted {
    taken: Vec<(u64, u32)>,
    reserved: Vec<(Reservation, u32)>,
}

impl Granted {
    /// Takes all available cells whenever a reservation acts. This shows if a cancel gave back too
    /// many cells.
    fn flood(&mut self, limit: &Rates, clock: u64) {
        let mut times: Vec<_> = self.reserved.iter().map(|(one, _)| one.at().get()).collect();
        times.retain(|time| *time >= clock);
        times.sort_unstable();
        for time in times {
            while self.taken.len() < 1000 && limit.take(Nanos::new(time), 1).is_ok() {
                self.taken.push((time, 1));
            }
        }
    }

    /// Every window between two grants holds no more than it may, up to a nanosecond.
    fn obeys(&self, rate: Rate) -> bool {
        let reserved = self.reserved.iter().map(|(one, cells)| (one.at().get(), *cells));
        let mut all: Vec<_> = self.taken.iter().copied().chain(reserved).collect();
        all.sort_unstable();
        let allowed = |window| {
            let period = rate.period().as_nanos();
            u128::from(rate.count()) * u128::from(window + 1_u64)
                + u128::from(rate.burst_size()) * period
        };
        (0..all.len()).all(|first| {
            let mut cells = 0_u128;
            all[first..].iter().all(|(at, more)| {
                cells += u128::from(*more);
                cells * rate.period().as_nanos() <= allowed(at - all[first].0)
            })
        })
    }
}

/// Runs the steps against a limit to these rates, and checks the law of each at the end.
fn run(steps: Vec<Step>, rates: &[Rate]) -> Result<(), TestCaseError> {
    let limit = rates[1..].iter().fold(Rates::new(rates[0]), |limit, rate| limit.and(*rate));
    let mut granted = Granted::default();
    let mut clock = 1_000_000_u64;
    for step in steps {
        match step {
            Step::Wait(nanos) => clock += nanos,
            Step::Take { cells, late_by } => {
                let now = clock - late_by;
                match limit.take(Nanos::new(now), cells) {
                    Ok(()) => granted.taken.push((now, cells)),
                    Err(denied) => exact(&limit, now, cells, denied)?,
                }
            }
            Step::Reserve { cells, patience, late_by } => {
                let (now, patience) = (clock - late_by, Duration::from_nanos(patience));
                match limit.reserve(Nanos::new(now), cells, patience) {
                    Ok(one) => {
                        prop_assert!(one.at().get() - now <= u64::try_from(patience.as_nanos())?);
                        granted.reserved.push((one, cells));
                    }
                    Err(denied) => exact(&limit, now, cells, denied)?,
                }
            }
            // Before its time, or after it: the caller has not acted.
            Step::Cancel(index) if !granted.reserved.is_empty() => {
                let index = index % granted.reserved.len();
                let (one, _) = granted.reserved.swap_remove(index);
                limit.cancel(Nanos::new(clock), &one);
            }
            Step::Cancel(_) => {}
        }
    }
    granted.flood(&limit, clock);
    for rate in rates {
        prop_assert!(granted.obeys(*rate), "{rate:?}: {granted:?}");
    }
    Ok(())
}

/// A denial names the first nanosecond at which the cells are there, and `tokens` agrees.
fn exact(limit: &Rates, now: u64, cells: u32, denied: Denied) -> Result<(), TestCaseError> {
    let Denied::After(wait) = denied else {
        prop_assert!(limit.laws().any(|law| law.rate().burst_size() < cells));
        return Ok(());
    };
    let due = now + u64::try_from(wait.as_nanos())?;
    prop_assert!(due > now);
    prop_assert!(limit.tokens(Nanos::new(due - 1)) < cells);
    prop_assert!(limit.tokens(Nanos::new(due)) >= cells);
    Ok(())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let nanos = || prop_oneof![0..20_u64, 0..1000_u64, 0..20_000_u64];
    let late = || prop_oneof![2 => Just(0), 1 => 0..100_u64, 1 => 0..20_000_u64];
    let cells = || prop_oneof![Just(1), 1..13_u32];
    let take = (cells(), late()).prop_map(|(cells, late_by)| Step::Take { cells, late_by });
    let reserve = (cells(), 0..40_000_u64, late())
        .prop_map(|(cells, patience, late_by)| Step::Reserve { cells, patience, late_by });
    let cancel = prop::num::usize::ANY.prop_map(Step::Cancel);
    let step = prop_oneof![2 => nanos().prop_map(Step::Wait), 3 => take, 4 => reserve, 3 => cancel];
    prop::collection::vec(step, 1..80)
}

/// From a cell every 10 us to sixteen in a nanosecond, most of them not whole nanoseconds apart.
fn rate() -> impl Strategy<Value = Rate> {
    let slow = (1..4_u32, 100..1000_u64);
    prop_oneof![slow, (1..40_u32, 1..10_000_u64)].prop_flat_map(|(count, nanos)| {
        (1..13_u32)
            .prop_map(move |burst| Rate::new(count, Duration::from_nanos(nanos)).burst(burst))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn no_window_holds_more_than_the_rate_and_a_burst(
        steps in steps(), rate in rate(),
    ) {
        run(steps, &[rate])?;
    }

    #[test]
    fn no_window_of_several_rates_holds_more_than_its_rate(
        steps in steps(), rates in prop::collection::vec(rate(), 2..4),
    ) {
        run(steps, &rates)?;
    }

    #[test]
    fn taking_at_the_denied_time_uses_the_whole_rate(rate in rate(), cells in 1..13_u32) {
        let cells = cells.min(rate.burst_size());
        let limit = Rates::new(rate);
        let (mut now, mut taken) = (0_u64, 0_u64);
        for _ in 0..500 {
            match limit.take(Nanos::new(now), cells) {
                Ok(()) => taken += u64::from(cells),
                Err(Denied::After(wait)) => now += u64::try_from(wait.as_nanos())?,
                Err(_) => prop_assert!(false, "within the burst"),
            }
        }
        let interval = (rate.period().as_nanos() * 16).div_ceil(rate.count().into());
        let earned = u128::from(rate.burst_size()) + u128::from(now) * 16 / interval;
        prop_assert!(u128::from(taken) + u128::from(cells) >= earned);
    }
}
