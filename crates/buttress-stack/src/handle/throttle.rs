use std::{hash::Hash, time::Duration};

use buttress_control::Rate;
use buttress_core::Measure;
use buttress_throttle::{
    AcceptRatioLimit, Adapt, Adaptive, ConcurrencyLimit, Fixed, FleetCells, Keyed, Queued,
    RateLimit, ThrottleHandle, UnitCost,
};

use super::fleet::FleetControl;
use crate::{
    config::{ConcurrencyConfig, RateConfig},
    misfit::FleetFacts,
};

/// The handle of a throttle, whatever its limit and its keys are.
pub trait ThrottleControl: Measure {
    /// The settings of a limit of concurrency. An adaptive limit has no `limit` to set.
    fn concurrency(&self) -> Option<ConcurrencyConfig> {
        None
    }

    /// The settings of a rate. Several rates have no `calls`, `per` and `burst` to set.
    fn rate(&self) -> Option<RateConfig> {
        None
    }

    /// The numbers of a fleet that are in no configuration.
    fn fleet(&self) -> Option<FleetFacts> {
        None
    }

    /// Sets all settings that the limit has. Wakes calls that may run now.
    fn set(&self, concurrency: &ConcurrencyConfig, rate: &RateConfig) {
        let _ = (concurrency, rate);
    }
}

/// Implements the trait for limits of concurrency. `$set` sets the limit, unless it is adaptive.
macro_rules! concurrency {
    ($([$($parameter:tt)*] $limit:ty, $shown:expr, $set:expr;)*) => {$(
        impl<$($parameter)*> ThrottleControl for ThrottleHandle<$limit> {
            fn concurrency(&self) -> Option<ConcurrencyConfig> {
                let (queue, max_wait) = queue(self);
                Some(ConcurrencyConfig { limit: $shown(self), queue, max_wait })
            }

            fn set(&self, config: &ConcurrencyConfig, _: &RateConfig) {
                set_queue(self, config.queue, config.max_wait);
                // Last, because a raised limit admits waiting calls.
                if let Some(limit) = config.limit {
                    $set(self, limit);
                }
            }
        }
    )*};
}

concurrency! {
    [] ConcurrencyLimit<Fixed>,
    |handle: &Self| Some(handle.limit()), |handle: &Self, limit| handle.set_limit(limit);

    [K: Hash + Eq + Send + Sync + 'static] Keyed<ConcurrencyLimit<Fixed>, K>,
    |handle: &Self| Some(handle.limit()), |handle: &Self, limit| handle.set_limit(limit);

    [A: Adapt] ConcurrencyLimit<Adaptive<A>>, |_| None, |_, _| ();

    [A: Adapt, K: Hash + Eq + Send + Sync + 'static] Keyed<ConcurrencyLimit<Adaptive<A>>, K>,
    |_| None, |_, _| ();
}

macro_rules! rate {
    ($([$($parameter:tt)*] $limit:ty;)*) => {$(
        impl<$($parameter)*> ThrottleControl for ThrottleHandle<$limit> {
            fn rate(&self) -> Option<RateConfig> {
                let (queue, max_wait) = queue(self);
                let fleet = FleetControl::shown(self);
                Some(RateConfig { queue, max_wait, fleet, ..shown(&self.rates()) })
            }

            fn fleet(&self) -> Option<FleetFacts> {
                FleetControl::facts(self)
            }

            fn set(&self, _: &ConcurrencyConfig, config: &RateConfig) {
                set_queue(self, config.queue, config.max_wait);
                FleetControl::set(self, &config.fleet);
                if let (Some(calls), Some(per), Some(burst)) = (config.calls, config.per, config.burst) {
                    self.set_rate(Rate::new(calls, per).burst(burst));
                }
            }
        }
    )*};
}

rate! {
    [] RateLimit;
    [] RateLimit<UnitCost, FleetCells>;

    [W: Clone + Send + Sync + 'static, K: Hash + Eq + Send + Sync + 'static]
    Keyed<RateLimit<W>, K>;

    [W: Clone + Send + Sync + 'static, K: Hash + Eq + Send + Sync + 'static]
    Keyed<RateLimit<W, FleetCells>, K>;
}

impl ThrottleControl for ThrottleHandle<AcceptRatioLimit> {}

impl<K> ThrottleControl for ThrottleHandle<Keyed<AcceptRatioLimit, K>> where
    K: Hash + Eq + Send + Sync + 'static
{
}

fn shown(rates: &[Rate]) -> RateConfig {
    let [rate] = rates else { return RateConfig::default() };
    RateConfig {
        calls: Some(rate.count()),
        per: Some(rate.period()),
        burst: Some(rate.burst_size()),
        ..RateConfig::default()
    }
}

/// The maximum number of waiting calls, and their longest wait.
fn queue<L: Queued>(handle: &ThrottleHandle<L>) -> (Option<u32>, Option<Duration>) {
    (Some(u32::try_from(handle.max_queued()).unwrap_or(u32::MAX)), handle.max_wait())
}

fn set_queue<L: Queued>(handle: &ThrottleHandle<L>, max: Option<u32>, wait: Option<Duration>) {
    if let Some(max) = max {
        handle.set_max_queued(usize::try_from(max).unwrap_or(usize::MAX));
    }
    handle.set_max_wait(wait);
}
