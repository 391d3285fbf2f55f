//! The fault plan: the behaviour for each request, in the order of arrival.

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal};

use crate::upstream::conditions::Conditions;

/// Shuffled blocks of behaviours, one for each request in the order of arrival.
///
/// Every block holds the same faults, so the share of each fault is the same in a run of any length. Only
/// the order and the latencies depend on the seed.
pub(crate) struct FaultPlan {
    conditions: Conditions,
    random: Xoshiro256PlusPlus,
    block: Vec<Behaviour>,
}

/// The behaviour of the upstream for a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Behaviour {
    /// The response comes after this latency.
    Healthy(Duration),
    /// The response comes after this latency, which is far longer than a caller should wait.
    Slow(Duration),
    /// The response comes at once and has this status.
    Status(u16),
    /// The connection is reset while the request still lies unread in the socket.
    ResetBefore,
    /// The connection is reset once the request has been read.
    ResetAfter,
    /// No response. The connection is reset after [`SILENCE`].
    Silent,
}

impl FaultPlan {
    pub(crate) fn new(conditions: Conditions, seed: u64) -> Self {
        let random = Xoshiro256PlusPlus::seed_from_u64(seed);
        Self { conditions, random, block: Vec::new() }
    }

    pub(crate) fn next_behaviour(&mut self) -> Behaviour {
        loop {
            if let Some(behaviour) = self.block.pop() {
                return behaviour;
            }
            self.refill();
        }
    }

    fn refill(&mut self) {
        let length = match self.conditions {
            Conditions::Storm => {
                self.add_storm_faults();
                STORM_BLOCK
            }
            Conditions::SlowTail => {
                self.block.push(Behaviour::Slow(MEDIAN * TAIL));
                TAIL_BLOCK
            }
            Conditions::DeadUpstream => 1,
        };
        while self.block.len() < length {
            let latency = latency(&mut self.random);
            self.block.push(Behaviour::Healthy(latency));
        }
        self.block.shuffle(&mut self.random);
    }

    fn add_storm_faults(&mut self) {
        self.block.extend(FAULTS);
        for _ in 0..SLOW {
            let seconds = self.random.random_range(SLOW_SECONDS);
            self.block.push(Behaviour::Slow(Duration::from_secs_f64(seconds)));
        }
    }
}

/// Draws a latency: 40 ms times a lognormal factor of median 1.
fn latency(random: &mut Xoshiro256PlusPlus) -> Duration {
    let factor = LogNormal::new(0.0, SIGMA).map_or(1.0, |factors| factors.sample(random));
    MEDIAN.mul_f64(factor)
}

/// The time until the upstream resets the connection of a silent request.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);

const STORM_BLOCK: usize = 40;
const TAIL_BLOCK: usize = 100;

/// The latency of the slow tail, in medians.
const TAIL: u32 = 10;

const SLOW: usize = 2;
const SLOW_SECONDS: std::ops::Range<f64> = 2.0..3.0;
const MEDIAN: Duration = Duration::from_millis(40);
const SIGMA: f64 = 0.25;

/// The three 5xx are the responses of a proxy in front of a service.
const FAULTS: [Behaviour; 8] = [
    Behaviour::Status(502),
    Behaviour::Status(503),
    Behaviour::Status(504),
    Behaviour::ResetBefore,
    Behaviour::ResetBefore,
    Behaviour::ResetAfter,
    Behaviour::ResetAfter,
    Behaviour::Silent,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn behaviours(seed: u64, number: usize) -> Vec<Behaviour> {
        behaviours_of(Conditions::Storm, seed, number)
    }

    fn behaviours_of(conditions: Conditions, seed: u64, number: usize) -> Vec<Behaviour> {
        let mut plan = FaultPlan::new(conditions, seed);
        (0..number).map(|_| plan.next_behaviour()).collect()
    }

    #[test]
    fn block_of_the_storm_holds_exactly_the_stated_faults() {
        for block in behaviours(7, 100 * STORM_BLOCK).chunks(STORM_BLOCK) {
            let count =
                |of: fn(&Behaviour) -> bool| block.iter().filter(|behaviour| of(behaviour)).count();
            assert_eq!(count(|behaviour| matches!(behaviour, Behaviour::Status(500..=599))), 3);
            assert_eq!(count(|behaviour| matches!(behaviour, Behaviour::ResetBefore)), 2);
            assert_eq!(count(|behaviour| matches!(behaviour, Behaviour::ResetAfter)), 2);
            assert_eq!(count(|behaviour| matches!(behaviour, Behaviour::Silent)), 1);
            assert_eq!(count(|behaviour| matches!(behaviour, Behaviour::Slow(_))), 2);
            assert_eq!(count(|behaviour| matches!(behaviour, Behaviour::Healthy(_))), 30);
        }
    }

    #[test]
    fn slow_response_takes_2_to_3_s_and_healthy_response_40_ms_in_the_median() {
        let mut healthy = Vec::new();
        for behaviour in behaviours(7, 1000 * STORM_BLOCK) {
            match behaviour {
                Behaviour::Slow(after) => assert!((2.0..3.0).contains(&after.as_secs_f64())),
                Behaviour::Healthy(after) => healthy.push(after),
                _ => {}
            }
        }
        healthy.sort_unstable();
        let at = |share: usize| healthy[healthy.len() * share / 100].as_secs_f64();
        assert!((0.039..0.041).contains(&at(50)), "the median is {}", at(50));
        // One standard deviation above the median: 40 ms × e^.25.
        assert!((0.050..0.053).contains(&at(84)), "the 84th percentile is {}", at(84));
    }

    #[test]
    fn plan_depends_only_on_the_seed() {
        assert_eq!(behaviours(7, 400), behaviours(7, 400));
        assert_ne!(behaviours(7, 400), behaviours(8, 400));
    }

    #[test]
    fn slow_tail_is_one_response_in_a_hundred_at_ten_times_the_median() {
        for block in behaviours_of(Conditions::SlowTail, 7, 50 * TAIL_BLOCK).chunks(TAIL_BLOCK) {
            let is_healthy = |behaviour: &&Behaviour| matches!(behaviour, Behaviour::Healthy(_));
            assert_eq!(block.iter().filter(is_healthy).count(), 99);
            assert!(block.contains(&Behaviour::Slow(Duration::from_millis(400))));
        }
    }

    #[test]
    fn dead_upstream_has_no_fault_besides_its_outage() {
        let behaviours = behaviours_of(Conditions::DeadUpstream, 7, 1000);
        assert!(behaviours.iter().all(|behaviour| matches!(behaviour, Behaviour::Healthy(_))));
    }
}
