use std::hash::Hash;

use crate::{FleetCells, FleetSnapshot, Keyed, RateLimit, ThrottleHandle};

impl<W> ThrottleHandle<RateLimit<W, FleetCells>> {
    /// Returns the numbers of the rate that the fleet keeps together, of all keys.
    pub fn fleet(&self) -> FleetSnapshot {
        self.limit.queue.supply.snapshot()
    }
}

impl<W: Clone, K: Hash + Eq> ThrottleHandle<Keyed<RateLimit<W, FleetCells>, K>> {
    /// Returns the numbers of the rates that the fleet keeps together, of all keys.
    pub fn fleet(&self) -> FleetSnapshot {
        self.limit.table.template().0.queue.supply.snapshot()
    }
}
