//! Every adaptive law before a service that becomes slower for good, and fast again, and has room for all.
// Miri would need hours, and there is nothing in it for Miri.
#![cfg(not(any(buttress_loom, miri)))]

mod limited;

use std::time::Duration;

use buttress_control::{Adapt, Aimd, Gradient, Gradient2, Trend, Vegas};
use buttress_testkit::{Queueing, Times};

use limited::learn;

const S: Duration = Duration::from_secs(1);

/// A law in front of a thousand servers.
struct Roomy<L> {
    law: L,
    service: Queueing,
    times: fn(Duration) -> Times,
}

impl<L: Adapt> Roomy<L> {
    /// So many calls a second arrive, and take a second.
    fn new(seed: u64, calls: u32, law: L, times: fn(Duration) -> Times) -> Self {
        let service = Queueing::new(seed, 1000, times(S)).every(S / calls).limit(law.limit());
        Self { law, service, times }
    }

    /// Runs for a hundred service times, and returns the share of the calls that were served.
    fn run(&mut self, mean: Duration) -> f64 {
        let law = &mut self.law;
        let tally = self.service.run(mean * 100, |call| learn(law, call));
        let count = |calls: u64| f64::from(u32::try_from(calls).unwrap_or(u32::MAX));
        count(tally.answered) / count(tally.answered + tally.rejected)
    }

    /// Changes the time of calls, and returns the share of calls served after a hundred service times.
    fn change(&mut self, mean: Duration) -> f64 {
        self.service.service_time((self.times)(mean));
        self.run(mean);
        self.run(mean)
    }
}

fn serves_again_within_a_hundred_service_times(law: &impl Adapt, times: fn(Duration) -> Times) {
    for seed in 1..=2 {
        for slower in [1.8, 3.0, 5.0] {
            let mut roomy = Roomy::new(seed, 30, law.clone(), times);
            (0..3).for_each(|_| _ = roomy.run(S));
            let served = roomy.change(S.mul_f64(slower));
            assert!(served >= 0.9, "seed {seed}, {slower} times slower: {served}");
            let served = roomy.change(S);
            assert!(served >= 0.9, "seed {seed}, {slower} times slower and back: {served}");
        }
    }
}

fn follows_a_small_step(law: &impl Adapt) {
    for (seed, times) in (1..).zip([Times::Exponential, Times::Constant, Times::Exponential]) {
        let mut roomy = Roomy::new(seed, 100, law.clone(), times);
        (0..3).for_each(|_| _ = roomy.run(S));
        let served = roomy.change(S.mul_f64(1.3));
        assert!(served >= 0.9, "seed {seed}, 1.3 times slower: {served}");
        let served = roomy.change(S);
        assert!(served >= 0.9, "seed {seed}, 1.3 times slower and back: {served}");
    }
}

macro_rules! promises {
    ($($name:ident $law:ident)*) => { $(
        mod $name {
            use super::{$law, Times, serves_again_within_a_hundred_service_times as serves};

            #[test]
            fn serves_again_within_a_hundred_service_times() {
                serves(&$law::default(), Times::Exponential);
            }

            #[test]
            fn does_so_when_all_calls_take_the_same() {
                serves(&$law::default(), Times::Constant);
            }
        }
    )* };
}

promises!(aimd Aimd vegas Vegas gradient Gradient gradient2 Gradient2 trend Trend);

macro_rules! promises_of_laws_for_servers {
    ($($name:ident $law:ident)*) => { $(
        #[test]
        fn $name() {
            follows_a_small_step(&$law::default());
        }
    )* };
}

promises_of_laws_for_servers!(
    aimd_follows_a_small_step Aimd
    vegas_follows_a_small_step Vegas
    gradient_follows_a_small_step Gradient
    gradient2_follows_a_small_step Gradient2
);
