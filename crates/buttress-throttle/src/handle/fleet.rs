use std::{hash::Hash, time::Duration};

use crate::{FleetCells, FleetOptions, FleetSnapshot, Keyed, RateLimit, ThrottleHandle};

impl<W> ThrottleHandle<RateLimit<W, FleetCells>> {
    /// Returns the numbers of the rate that the fleet keeps together, of all keys.
    pub fn fleet(&self) -> FleetSnapshot {
        self.limit.queue.supply.snapshot()
    }

    /// Returns the options of the [`Fleet`](crate::Fleet), without its store.
    pub fn fleet_options(&self) -> FleetOptions {
        self.limit.queue.supply.options()
    }

    /// Sets the options of the [`Fleet`](crate::Fleet). Each replica has options of its own, so set
    /// them in all replicas.
    ///
    /// The cells that are held stay good until their lease ends. So for the time of a former lease,
    /// all replicas may admit as many more cells as they then held. What was admitted without the
    /// store stays owed. Waiting calls are decided by the new options at once.
    ///
    /// Raise `replicas` before more replicas start, and lower the number after they have ended.
    pub fn set_fleet_options(&self, options: FleetOptions) {
        self.limit.queue.supply.set_options(self.now(), options);
        self.limit.queue.grant_waiters();
    }

    /// Returns the time within which the store of the [`Fleet`](crate::Fleet) replies.
    pub fn store_time_limit(&self) -> Duration {
        self.limit.queue.supply.time_limit()
    }
}

impl<W: Clone, K: Hash + Eq> ThrottleHandle<Keyed<RateLimit<W, FleetCells>, K>> {
    /// Returns the numbers of the rates that the fleet keeps together, of all keys.
    pub fn fleet(&self) -> FleetSnapshot {
        self.limit.table.template().0.queue.supply.snapshot()
    }

    /// Returns the options of the [`Fleet`](crate::Fleet) that a new key gets, without its store.
    pub fn fleet_options(&self) -> FleetOptions {
        self.one(&self.limit.table.template().0).fleet_options()
    }

    /// Sets the options of the [`Fleet`](crate::Fleet) for every key, for those in use and for later
    /// ones, as the handle of a single rate does.
    pub fn set_fleet_options(&self, options: FleetOptions) {
        self.limit.table.change(|key| self.one(&key.0).set_fleet_options(options));
    }

    /// Returns the time within which the store of the [`Fleet`](crate::Fleet) replies.
    pub fn store_time_limit(&self) -> Duration {
        self.one(&self.limit.table.template().0).store_time_limit()
    }
}
