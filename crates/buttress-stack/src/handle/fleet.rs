use std::hash::Hash;

use buttress_throttle::{FleetCells, FleetOptions, Keyed, RateLimit, ThrottleHandle, UnitCost};

use crate::{config::FleetConfig, misfit::FleetFacts};

/// The part of a rate's handle that replicas keep together. Without a fleet, there is none.
pub(super) trait FleetControl {
    /// The settings of the fleet.
    fn shown(&self) -> FleetConfig {
        FleetConfig::default()
    }

    fn set(&self, config: &FleetConfig) {
        let _ = config;
    }

    /// The numbers of the fleet that are in no configuration.
    fn facts(&self) -> Option<FleetFacts> {
        None
    }
}

impl FleetControl for ThrottleHandle<RateLimit> {}

impl<W, K> FleetControl for ThrottleHandle<Keyed<RateLimit<W>, K>> {}

macro_rules! fleet {
    ($([$($parameter:tt)*] $limit:ty;)*) => {$(
        impl<$($parameter)*> FleetControl for ThrottleHandle<$limit> {
            fn shown(&self) -> FleetConfig {
                shown(self.fleet_options())
            }

            fn set(&self, config: &FleetConfig) {
                self.set_fleet_options(changed(self.fleet_options(), config));
            }

            fn facts(&self) -> Option<FleetFacts> {
                Some(FleetFacts {
                    time_limit: self.store_time_limit(),
                    is_exact: self.fleet_options().exact,
                    rates: self.rates(),
                })
            }
        }
    )*};
}

fleet! {
    [] RateLimit<UnitCost, FleetCells>;
    [W: Clone, K: Hash + Eq] Keyed<RateLimit<W, FleetCells>, K>;
}

fn shown(options: FleetOptions) -> FleetConfig {
    FleetConfig {
        replicas: Some(options.replicas),
        reserve: Some(options.reserve),
        lease: Some(options.lease),
        without_store: Some(options.without_store),
    }
}

/// `options` with the settings of `config`.
fn changed(mut options: FleetOptions, config: &FleetConfig) -> FleetOptions {
    options.replicas = config.replicas.unwrap_or(options.replicas);
    options.reserve = config.reserve.unwrap_or(options.reserve);
    options.lease = config.lease.unwrap_or(options.lease);
    options.without_store = config.without_store.unwrap_or(options.without_store);
    options
}
