use std::time::Duration;

use buttress_control::Ratio;

use super::Misfit;
use crate::config::{BreakerConfig, ClientConfig, FleetConfig, HedgeConfig};

/// The settings of `config` that cannot be right, whatever the others are.
pub(crate) fn ranges(config: &ClientConfig) -> Vec<Misfit> {
    let mut ranges = Ranges(Vec::new());
    ranges.some_time("deadline.timeout", config.deadline.timeout, "30s");
    ranges.some_time("attempt.timeout", config.attempt.timeout, "10s");
    ranges.at_least_one("retry.attempts", config.retry.attempts);
    ranges.hedge(&config.hedge);
    ranges.breaker(&config.breaker);
    ranges.at_least_one("concurrency.limit", config.concurrency.limit);
    ranges.some_time("concurrency.max_wait", config.concurrency.max_wait, "1s");
    ranges.at_least_one("rate.calls", config.rate.calls);
    ranges.some_time("rate.per", config.rate.per, "1s");
    ranges.at_least_one("rate.burst", config.rate.burst);
    ranges.some_time("rate.max_wait", config.rate.max_wait, "1s");
    ranges.fleet(&config.rate.fleet);
    ranges.at_least_one("cache.fleet.max_value", config.cache.fleet.max_value);
    ranges.0
}

struct Ranges(Vec<Misfit>);

impl Ranges {
    fn hedge(&mut self, hedge: &HedgeConfig) {
        self.share("hedge.quantile", hedge.quantile);
        if hedge.at_most.is_some_and(|hedges| hedges > MOST_HEDGES) {
            self.find("hedge.at_most", "Write at most 100, or 0 to send no hedge.");
        }
    }

    fn breaker(&mut self, breaker: &BreakerConfig) {
        self.share("breaker.failures", breaker.failures);
        self.at_least_one("breaker.minimum", breaker.minimum);
        self.at_least_one("breaker.consecutive", breaker.consecutive);
        self.some_time("breaker.slow.limit", breaker.slow.limit, "5s");
        self.share("breaker.slow.ratio", breaker.slow.ratio);
        if breaker.window.is_some_and(|window| window < SHORTEST_WINDOW) {
            self.find("breaker.window", "Write at least \"20ms\", such as \"30s\".");
        }
        self.at_least_one("breaker.probes", breaker.probes);
        self.at_least_one("breaker.needed", breaker.needed);
        self.some_time("breaker.probe_patience", breaker.probe_patience, "30s");
        self.some_time("breaker.ramp.stage", breaker.ramp.stage, "1s");
        let shares = breaker.ramp.shares.iter().flatten();
        if let Some(wrong) = shares.clone().find(|share| !is_share(**share)) {
            self.share("breaker.ramp.shares", Some(*wrong));
        }
        if shares.count() > MOST_STAGES {
            self.find("breaker.ramp.shares", "Write at most eight shares.");
        }
    }

    fn fleet(&mut self, fleet: &FleetConfig) {
        if fleet.replicas.is_some_and(|replicas| replicas < 2) {
            let remedy = "A rate of fewer than 2 replicas needs no store. Write the most replicas that \
                          run at the same time, or remove `.fleet(..)` from the program.";
            self.find("rate.fleet.replicas", remedy);
        }
        if fleet.reserve.is_some_and(|reserve| reserve > Ratio::percent(100)) {
            let remedy = "Write a share of at most 100 %, such as \"20%\". With 0, each call asks the \
                          store.";
            self.find("rate.fleet.reserve", remedy);
        }
        if fleet.lease.is_some_and(|lease| lease > LONGEST_LEASE) {
            self.find("rate.fleet.lease", "Write at most \"1h\", such as \"200ms\".");
        }
    }

    fn some_time(&mut self, setting: &'static str, time: Option<Duration>, example: &str) {
        if time.is_some_and(|time| time.is_zero()) {
            let remedy = format!("Zero leaves no time at all. Write a time such as \"{example}\".");
            self.find(setting, remedy);
        }
    }

    fn at_least_one(&mut self, setting: &'static str, number: Option<u32>) {
        if number == Some(0) {
            self.find(setting, "0 is too few. Write 1 or more.");
        }
    }

    fn share(&mut self, setting: &'static str, share: Option<Ratio>) {
        if share.is_some_and(|share| !is_share(share)) {
            let remedy = "Write a share above 0 % and of at most 100 %, such as \"20%\" or 0.2.";
            self.find(setting, remedy);
        }
    }

    fn find(&mut self, setting: &'static str, remedy: impl Into<String>) {
        self.0.push(Misfit::new([setting], remedy));
    }
}

fn is_share(ratio: Ratio) -> bool {
    ratio > Ratio::ZERO && ratio <= Ratio::percent(100)
}

/// The most that `HedgeLayer::at_most` counts.
const MOST_HEDGES: u32 = 100;
/// A longer lease counts as this one.
const LONGEST_LEASE: Duration = Duration::from_secs(3600);
/// A shorter window counts as this one.
const SHORTEST_WINDOW: Duration = Duration::from_millis(20);
/// The most that `BreakerLayer::ramp` counts.
const MOST_STAGES: usize = 8;
