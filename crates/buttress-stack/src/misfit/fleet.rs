use std::time::Duration;

use buttress_control::{LeaseKind, LeaseRules, Rate};

use super::{FleetFacts, Misfit};
use crate::config::RateConfig;

/// The settings of a rate that contradict each other because a fleet keeps the rate.
pub(super) fn rate_fleet(config: &RateConfig, facts: Option<&FleetFacts>) -> Vec<Misfit> {
    let Some(rules) = rules(config, facts) else { return Vec::new() };
    let mut found = Vec::new();
    if let Some(facts) = facts
        && rules.kind() == LeaseKind::Leased
        && rules.horizon() < facts.time_limit
    {
        let (horizon, limit) = (rules.horizon(), facts.time_limit);
        let remedy = format!(
            "A replica asks for the calls of the next {horizon:?}, a quarter of rate.fleet.lease, but \
             the store may take {limit:?} to reply. Lengthen rate.fleet.lease to {:?}, or shorten the \
             time limit of the store.",
            limit.saturating_mul(4)
        );
        found.push(Misfit::new(["rate.fleet.lease"], remedy));
    }
    let is_fast = rules.rates().iter().any(|rate| rate.interval() < SHORTEST_INTERVAL);
    if rules.kind() == LeaseKind::Exact && is_fast {
        found.push(exact(&rules));
    }
    found
}

/// The rules of these settings. `None` if one of them is not known.
fn rules(config: &RateConfig, facts: Option<&FleetFacts>) -> Option<LeaseRules> {
    let fleet = &config.fleet;
    let rates = match (config.calls, config.per, config.burst) {
        (Some(calls), Some(per), Some(burst)) => vec![Rate::new(calls, per).burst(burst)],
        _ => facts?.rates.clone(),
    };
    let rules = LeaseRules::new(rates, fleet.replicas?).reserve(fleet.reserve?).lease(fleet.lease?);
    Some(if facts.is_some_and(|facts| facts.is_exact) { rules.exact() } else { rules })
}

/// Why each call of a fast rate asks the store.
fn exact(rules: &LeaseRules) -> Misfit {
    let (setting, why, remedy) = if rules.is_always_exact() {
        ("rate.fleet", "the program sets `exact` for rate.fleet", "Remove it")
    } else if rules.lease_time() < SHORTEST_LEASE {
        let why = "no calls are held ahead for less than 20ms";
        ("rate.fleet.lease", why, "Lengthen rate.fleet.lease")
    } else {
        let why = "a replica may hold less than 2 calls ahead";
        let remedy = "Raise rate.fleet.reserve or rate.burst, lower rate.fleet.replicas";
        ("rate.fleet.reserve", why, remedy)
    };
    let remedy = format!(
        "Each call asks the store, because {why}, but the rate is over 1,000 calls a second. {remedy}, \
         or lower rate.calls."
    );
    Misfit::new([setting, "rate.calls"], remedy)
}

/// The time between two calls of a rate of 1,000 calls a second.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);
/// With a shorter lease, each call asks the store.
const SHORTEST_LEASE: Duration = Duration::from_millis(20);
