//! The network: decides the treatment of a request by the time and the number of the arrival, never by
//! the client.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::upstream::conditions::Conditions;
use crate::upstream::fault_plan::{Behaviour, FaultPlan};

/// The state of the network before an upstream.
///
/// In the calm phase, until [`begin`](Self::begin), requests are held so that the heap can be measured. Then
/// each request takes the plan's next behaviour. An outage or the rate gate overrides that behaviour.
pub(crate) struct Network {
    conditions: Conditions,
    plan: FaultPlan,
    gate: RateGate,
    began: Option<Instant>,
    released: bool,
    counts: NetworkCounts,
}

/// How a request is treated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Treatment {
    /// As the fault plan says.
    Planned(Behaviour),
    /// The connection is reset before the request is read, because of an outage.
    Outage,
    /// No response, because the upstream is dead.
    Dead,
    /// The response is `503` with `Retry-After: 1`, because there were too many requests a second.
    Overloaded,
    /// The response is sent when the upstream releases all held requests.
    Held,
}

/// The requests since the start of the run, by treatment.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct NetworkCounts {
    /// All requests that arrived.
    pub(crate) requests: u64,
    pub(crate) healthy: u64,
    pub(crate) slow: u64,
    pub(crate) status: u64,
    pub(crate) reset_before: u64,
    pub(crate) reset_after: u64,
    pub(crate) silent: u64,
    /// In an outage, by reset or silence.
    pub(crate) outage: u64,
    pub(crate) overloaded: u64,
    /// Requests held in the calm phase, until all were released at once.
    pub(crate) held: u64,
}

impl Network {
    pub(crate) fn new(conditions: Conditions, seed: u64) -> Self {
        Self {
            conditions,
            plan: FaultPlan::new(conditions, seed),
            gate: RateGate::default(),
            began: None,
            released: false,
            counts: NetworkCounts::default(),
        }
    }

    /// Stops counting requests as held in the calm phase.
    pub(crate) fn release(&mut self) {
        self.released = true;
    }

    /// Ends the calm phase.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.began = Some(now);
    }

    pub(crate) fn counts(&self) -> NetworkCounts {
        self.counts
    }

    /// Decides the treatment of the request that arrives now.
    ///
    /// Each arrival takes a behaviour from the plan, even if an outage or the rate gate overrides it.
    pub(crate) fn treat(&mut self, now: Instant) -> Treatment {
        let Some(began) = self.began else {
            self.counts.held += u64::from(!self.released);
            return Treatment::Held;
        };
        let since = now.saturating_duration_since(began);
        let behaviour = self.plan.next_behaviour();
        let treatment = if self.conditions.is_outage(since) {
            self.outage()
        } else if self.gate.rejects(since) {
            Treatment::Overloaded
        } else {
            Treatment::Planned(behaviour)
        };
        self.counts.count(treatment);
        treatment
    }

    /// Returns the treatment in an outage.
    const fn outage(&self) -> Treatment {
        match self.conditions {
            Conditions::DeadUpstream => Treatment::Dead,
            Conditions::Storm | Conditions::SlowTail => Treatment::Outage,
        }
    }

    /// Returns the start of the next outage.
    pub(crate) fn next_outage(&self, now: Instant) -> Option<Instant> {
        let began = self.began?;
        self.conditions.outages().map(|(start, _)| began + start).find(|start| *start > now)
    }
}

impl NetworkCounts {
    fn count(&mut self, treatment: Treatment) {
        self.requests += 1;
        let counter = match treatment {
            Treatment::Planned(Behaviour::Healthy(_)) => &mut self.healthy,
            Treatment::Planned(Behaviour::Slow(_)) => &mut self.slow,
            Treatment::Planned(Behaviour::Status(_)) => &mut self.status,
            Treatment::Planned(Behaviour::ResetBefore) => &mut self.reset_before,
            Treatment::Planned(Behaviour::ResetAfter) => &mut self.reset_after,
            Treatment::Planned(Behaviour::Silent) => &mut self.silent,
            Treatment::Outage | Treatment::Dead => &mut self.outage,
            Treatment::Overloaded => &mut self.overloaded,
            Treatment::Held => &mut self.held,
        };
        *counter += 1;
    }
}

/// Admits at most 1,000 requests a second and a burst of 200, by the generic cell rate algorithm.
///
/// `arrival` is the theoretical arrival time of the next request: the time at which a bucket that leaks one
/// request per millisecond is empty again.
#[derive(Default)]
struct RateGate {
    arrival: Duration,
}

impl RateGate {
    fn rejects(&mut self, since: Duration) -> bool {
        let arrival = self.arrival.max(since) + PER_REQUEST;
        if arrival > since + BURST {
            return true;
        }
        self.arrival = arrival;
        false
    }
}

const PER_REQUEST: Duration = Duration::from_millis(1);
const BURST: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(seed: u64) -> (Network, Instant) {
        let began = Instant::now();
        let mut network = Network::new(Conditions::Storm, seed);
        network.begin(began);
        (network, began)
    }

    #[test]
    fn treatment_depends_only_on_the_number_of_the_arrival() {
        let (mut slow, began) = begun(5);
        let (mut fast, _) = begun(5);
        for number in 0..200 {
            let slow = slow.treat(began + Duration::from_millis(number * 10));
            assert_eq!(slow, fast.treat(began));
        }
    }

    #[test]
    fn rate_gate_rejects_above_1000_requests_a_second_and_a_burst_of_200() {
        let (mut network, began) = begun(5);
        let rejected = |network: &mut Network, at: u64| {
            let now = began + Duration::from_millis(at);
            (0..1000).filter(|_| network.treat(now) == Treatment::Overloaded).count()
        };
        assert_eq!(rejected(&mut network, 0), 800);
        assert_eq!(rejected(&mut network, 50), 950);
        assert_eq!(rejected(&mut network, 2_000), 800);
    }

    #[test]
    fn outage_consumes_planned_behaviours() {
        let (mut through, began) = begun(5);
        let (mut around, _) = begun(5);
        for _ in 0..100 {
            through.treat(began + Duration::from_millis(2_600));
            around.treat(began + Duration::from_secs(2));
        }
        let later = began + Duration::from_secs(4);
        assert_eq!(through.treat(later), around.treat(later));
        assert_eq!(through.counts().outage, 100);
    }

    #[test]
    fn dead_upstream_is_silent_until_its_outage_ends() {
        let began = Instant::now();
        let mut network = Network::new(Conditions::DeadUpstream, 5);
        network.begin(began);
        let mut at = |seconds| network.treat(began + Duration::from_secs(seconds));
        assert!(matches!(at(2), Treatment::Planned(Behaviour::Healthy(_))));
        assert_eq!([at(3), at(12)], [Treatment::Dead, Treatment::Dead]);
        assert!(matches!(at(13), Treatment::Planned(Behaviour::Healthy(_))));
        assert_eq!((network.counts().outage, network.counts().requests), (2, 4));
    }
}
