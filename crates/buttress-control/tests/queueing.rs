//! Every adaptive law in front of a simulated service under twice the load it can take.
// Miri would need hours, and there is nothing in it for Miri.
#![cfg(not(any(buttress_loom, miri)))]

mod limited;

use std::time::Duration;

use buttress_control::{Adapt, Aimd, Gradient, Gradient2, Ratio, Sample, Trend, Vegas};
use buttress_testkit::{Queueing, Times};

use limited::learn;

const MS: Duration = Duration::from_millis(1);

/// A law that limits a service of twenty servers, for which calls arrive at twice the rate they can answer.
struct Overload<L> {
    law: L,
    service: Queueing,
    mean: Duration,
}

impl<L: Adapt> Overload<L> {
    fn new(seed: u64, law: L, service: Times, mean: Duration) -> Self {
        let service = Queueing::new(seed, 20, service).every(mean / 40).limit(law.limit());
        Self { law, service, mean }
    }

    /// Runs for so many mean service times, and returns the limits after each call and the calls answered.
    fn run(&mut self, times: u32) -> (Vec<u32>, f64) {
        let (law, mut limits) = (&mut self.law, Vec::new());
        self.service.run(self.mean * times, |call| {
            limits.push(learn(law, call));
            law.limit()
        });
        let answered = f64::from(u32::try_from(limits.len()).unwrap_or(u32::MAX));
        (limits, answered / f64::from(times))
    }
}

/// The last half.
fn later(limits: &[u32]) -> &[u32] {
    limits.split_at(limits.len() / 2).1
}

fn median(limits: &[u32]) -> u32 {
    let mut limits = limits.to_vec();
    limits.sort_unstable();
    limits.get(limits.len() / 2).copied().unwrap_or_default()
}

/// The limit is between once and twice the servers, at first and after half of them are gone; and hardly a
/// server is idle.
fn keeps_the_servers_busy_and_few_waiting(law: &impl Adapt, service: fn(Duration) -> Times) {
    for (seed, mean) in (1..=5).zip([10 * MS, 10 * MS, 10 * MS, 100 * MS, MS]) {
        let mut overload = Overload::new(seed, law.clone(), service(mean), mean);
        let (limits, answered) = overload.run(2000);
        let limit = median(later(&limits));
        assert!((20..=40).contains(&limit), "seed {seed}: {limit} for 20 servers");
        assert!(answered >= 0.95 * 20.0, "seed {seed}: {answered} of 20 servers were busy");

        overload.service.resize(10);
        overload.run(200);
        let after: Vec<_> = (0..5).map(|_| median(&overload.run(200).0)).collect();
        let fits = after.iter().all(|limit| (10..=20).contains(limit));
        assert!(fits, "seed {seed}: {after:?} for 10 servers");
    }
}

fn does_not_drift_in_a_million_calls(law: impl Adapt) {
    let mut overload = Overload::new(11, law, Times::Exponential(10 * MS), 10 * MS);
    let tenths = [(); 10].map(|()| median(&overload.run(5000).0));
    let [first, .., last] = tenths.map(f64::from);
    assert!((0.8..=1.2).contains(&(last / first)), "{tenths:?}");
}

macro_rules! promises {
    ($($name:ident $law:ident)*) => { $(
        mod $name {
            use super::{$law, Times};

            #[test]
            fn keeps_the_servers_busy_and_few_waiting() {
                super::keeps_the_servers_busy_and_few_waiting(&$law::default(), Times::Exponential);
            }

            #[test]
            fn does_so_when_all_calls_take_the_same() {
                super::keeps_the_servers_busy_and_few_waiting(&$law::default(), Times::Constant);
            }

            #[test]
            fn does_so_when_few_calls_take_most_of_the_time() {
                let service = |mean| Times::LogNormal { mean, sigma: 1.0 };
                super::keeps_the_servers_busy_and_few_waiting(&$law::default(), service);
            }

            #[test]
            fn does_not_drift_in_a_million_calls() {
                super::does_not_drift_in_a_million_calls($law::default());
            }
        }
    )* };
}

promises!(aimd Aimd vegas Vegas gradient Gradient gradient2 Gradient2 trend Trend);

#[test]
fn vegas_on_single_calls_learns_from_the_luckiest() {
    let law = Vegas::default().each_call();
    let (limits, _) = Overload::new(1, law, Times::Exponential(10 * MS), 10 * MS).run(2000);
    assert!(median(&limits) < 10, "{} for 20 servers", median(&limits));
}

/// Netflix's `WindowedLimit` before its `Gradient2Limit`: the mean of so many calls, against a moving average.
#[derive(Clone, Debug)]
struct Windowed {
    law: Gradient2,
    total: Duration,
    calls: u32,
}

impl Adapt for Windowed {
    fn limit(&self) -> u32 {
        self.law.limit()
    }

    fn learn(&mut self, sample: Sample) -> u32 {
        self.total += sample.rtt;
        self.calls += 1;
        if self.calls == 100 {
            let rtt = std::mem::take(&mut self.total) / std::mem::take(&mut self.calls);
            let Sample { started, in_flight, dropped, .. } = sample;
            self.law.learn(Sample::new(started, rtt, in_flight, dropped));
        }
        self.limit()
    }
}

#[test]
fn gradient2_on_an_average_learns_that_any_load_is_right() {
    let law = Gradient2::default().each_call().tolerance(Ratio::percent(150)).max(200);
    let law = Windowed { law, total: Duration::ZERO, calls: 0 };
    let (limits, _) = Overload::new(1, law, Times::Exponential(10 * MS), 10 * MS).run(10_000);
    let last = median(later(&limits));
    assert_eq!(last, 200, "for 20 servers");
}
