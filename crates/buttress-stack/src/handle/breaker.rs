use std::time::Duration;

use buttress_breaker::{BreakerHandle, Circuits};
use buttress_control::{Backoff, CircuitRules, Ratio};
use buttress_core::Measure;

use super::backoff::{between, bounds};
use crate::config::{BreakerConfig, RampConfig, SlowConfig};

/// The handle of a breaker, whatever its keys are.
pub trait BreakerControl: Measure {
    /// The rules as settings. A rule that is off has none.
    fn config(&self) -> BreakerConfig;

    /// Sets all rules.
    fn set(&self, config: &BreakerConfig);

    /// The patience with calls without an answer.
    fn patience(&self) -> Option<Duration>;
}

impl<C: Circuits + Send + Sync + 'static> BreakerControl for BreakerHandle<C> {
    fn config(&self) -> BreakerConfig {
        let numbers = self.rules().numbers();
        let is_share = |ratio: &Ratio| *ratio <= Ratio::percent(100);
        let has_ramp = !numbers.stage.is_zero() && !numbers.shares.is_empty();
        BreakerConfig {
            failures: Some(numbers.failure_ratio).filter(is_share),
            minimum: Some(numbers.minimum),
            consecutive: Some(numbers.consecutive),
            slow: SlowConfig {
                limit: numbers.slow.map(|(limit, _)| limit),
                ratio: numbers.slow.map(|(_, ratio)| ratio),
            },
            window: Some(numbers.window),
            open_for: bounds(&numbers.open_for),
            probes: Some(numbers.probes),
            needed: Some(numbers.needed),
            ramp: RampConfig {
                stage: Some(numbers.stage).filter(|_| has_ramp),
                shares: Some(if has_ramp { numbers.shares } else { Vec::new() }),
            },
            probe_patience: Some(numbers.probe_patience),
        }
    }

    fn set(&self, config: &BreakerConfig) {
        let present = self.rules();
        let open_for = present.numbers().open_for;
        let rules = rules(config, open_for);
        // Equal rules are not set, because each key would be looked at.
        if rules != present {
            self.set_rules(rules);
        }
    }

    fn patience(&self) -> Option<Duration> {
        Self::patience(self)
    }
}

/// The rules of these settings. A ratio that is missing turns its rule off.
fn rules(config: &BreakerConfig, open_for: Backoff) -> CircuitRules {
    let default = CircuitRules::new();
    let numbers = default.numbers();
    let shares = config.ramp.shares.as_deref().unwrap_or_default();
    default
        .failures(config.failures.unwrap_or(Ratio::MAX), config.minimum.unwrap_or(numbers.minimum))
        .consecutive(config.consecutive.unwrap_or(numbers.consecutive))
        .slow(config.slow.limit.unwrap_or_default(), config.slow.ratio.unwrap_or(Ratio::MAX))
        .window(config.window.unwrap_or(numbers.window))
        .open_for(between(open_for, &config.open_for))
        .probes(config.probes.unwrap_or(numbers.probes), config.needed.unwrap_or(numbers.needed))
        .ramp(config.ramp.stage.unwrap_or(Duration::from_secs(1)), shares)
        .probe_patience(config.probe_patience.unwrap_or(numbers.probe_patience))
}
