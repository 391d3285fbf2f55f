//! The fault plan: the behaviour for each request, in the order of arrival.

use std::time::Duration;

use buttress_testkit::{Condition, Weather};

use crate::upstream::conditions::Conditions;

/// The weather of the testkit as behaviours, one for each request in the order of arrival.
///
/// The shares of the faults are exact in every block, so they are the same in a run of any length. Only the
/// order and the latencies depend on the seed.
pub(crate) struct FaultPlan {
    weather: Weather,
    /// The number of the next arrival.
    number: u64,
    /// The kinds of the next faults.
    faults: std::iter::Cycle<std::array::IntoIter<Behaviour, 7>>,
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
        Self { weather: weather(conditions, seed), number: 0, faults: FAULTS.into_iter().cycle() }
    }

    pub(crate) fn next_behaviour(&mut self) -> Behaviour {
        let number = self.number;
        self.number += 1;
        match self.weather.numbered(number, Duration::ZERO) {
            Condition::Clear(latency) if latency > SLOW_FROM => Behaviour::Slow(latency),
            Condition::Clear(latency) => Behaviour::Healthy(latency),
            Condition::Fault(_) => self.faults.next().unwrap_or(Behaviour::ResetBefore),
            _ => Behaviour::Silent,
        }
    }
}

/// Returns the weather without its outages: they depend on the time, and the plan on the arrival.
fn weather(conditions: Conditions, seed: u64) -> Weather {
    let healthy = Weather::seeded(seed).lognormal(MEDIAN, P99);
    match conditions {
        Conditions::Storm => {
            healthy.faults(7.0 / 40.0).hangs(1.0 / 40.0).slow_tail(2.0 / 40.0, SLOW).blocks_of(40)
        }
        Conditions::SlowTail => healthy.slow_tail(0.01, TAIL).blocks_of(100),
        Conditions::DeadUpstream => healthy,
    }
}

/// The time until the upstream resets the connection of a silent request.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);

const MEDIAN: Duration = Duration::from_millis(40);
/// The 99th percentile of a lognormal distribution with this median and a σ of .25: 40 ms · e^(.25 · 2.326).
const P99: Duration = Duration::from_micros(71_554);

/// The latencies of slow responses, in latencies of healthy ones: 2.5 s and 400 ms in the median.
const SLOW: f64 = 62.5;
const TAIL: f64 = 10.0;
/// Four standard deviations above the median of a healthy response, and five below that of the slow tail.
const SLOW_FROM: Duration = Duration::from_millis(110);

/// The three 5xx are the responses of a proxy in front of a service.
const FAULTS: [Behaviour; 7] = [
    Behaviour::Status(502),
    Behaviour::ResetBefore,
    Behaviour::ResetAfter,
    Behaviour::Status(503),
    Behaviour::ResetBefore,
    Behaviour::ResetAfter,
    Behaviour::Status(504),
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
        for block in behaviours(7, 100 * 40).chunks(40) {
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
    fn slow_response_takes_2500_ms_and_healthy_response_40_ms_in_the_median() {
        let (mut healthy, mut slow) = (Vec::new(), Vec::new());
        for behaviour in behaviours(7, 1000 * 40) {
            match behaviour {
                Behaviour::Slow(after) => slow.push(after),
                Behaviour::Healthy(after) => healthy.push(after),
                _ => {}
            }
        }
        let at = |latencies: &mut Vec<Duration>, share: usize| {
            latencies.sort_unstable();
            latencies[latencies.len() * share / 100].as_secs_f64()
        };
        let (median, above) = (at(&mut healthy, 50), at(&mut healthy, 84));
        assert!((0.039..0.041).contains(&median), "the median is {median}");
        // One standard deviation above the median: 40 ms × e^.25.
        assert!((0.050..0.053).contains(&above), "the 84th percentile is {above}");
        let median = at(&mut slow, 50);
        assert!((2.4..2.6).contains(&median), "the median of slow responses is {median}");
        assert!(
            slow[0] > Duration::from_millis(800),
            "an attempt of 150 ms times out: {:?}",
            slow[0]
        );
    }

    #[test]
    fn plan_depends_only_on_the_seed() {
        assert_eq!(behaviours(7, 400), behaviours(7, 400));
        assert_ne!(behaviours(7, 400), behaviours(8, 400));
    }

    #[test]
    fn slow_tail_is_one_response_in_a_hundred_at_ten_times_the_latency() {
        for block in behaviours_of(Conditions::SlowTail, 7, 50 * 100).chunks(100) {
            let is_healthy = |behaviour: &&Behaviour| matches!(behaviour, Behaviour::Healthy(_));
            assert_eq!(block.iter().filter(is_healthy).count(), 99);
            let is_slow = |behaviour: &&Behaviour| matches!(behaviour, Behaviour::Slow(_));
            assert_eq!(block.iter().filter(is_slow).count(), 1);
        }
    }

    #[test]
    fn dead_upstream_has_no_fault_besides_its_outage() {
        let behaviours = behaviours_of(Conditions::DeadUpstream, 7, 1000);
        assert!(behaviours.iter().all(|behaviour| matches!(behaviour, Behaviour::Healthy(_))));
    }
}
