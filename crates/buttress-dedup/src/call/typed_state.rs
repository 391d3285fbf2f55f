use std::{any::Any, sync::Arc};

use super::{Call, Config, Controls, result::FlightResult, work::Work};
use crate::{
    cache::{CacheControls, CachePolicy},
    flight::{Flight, FlightTable},
    state::{AnyTypedState, Numbers},
};

/// The state of a layer over services of one type, for requests of one type.
pub(crate) struct TypedState<C: Call> {
    pub(crate) flights: Arc<CallFlights<C>>,
    pub(crate) shelf: Arc<Controls<C>>,
}

impl<C: Call> TypedState<C> {
    pub(crate) fn new(config: &Config<C>) -> Self {
        Self { flights: Arc::new(FlightTable::new()), shelf: Arc::new(config.shared.policy.open()) }
    }
}

impl<C: Call> AnyTypedState for TypedState<C> {
    fn numbers(&self) -> Numbers {
        let (flights, waiters) = self.flights.in_flight();
        let (led, joined) = self.flights.counts();
        let (kept, kept_bytes) = self.shelf.size();
        let handed_over = self.flights.handed_over();
        Numbers { flights, waiters, led, joined, handed_over, kept, kept_bytes }
    }

    fn forget(&self, key: &dyn Any) -> bool {
        let Some(key) = key.downcast_ref::<C::Key>() else { return false };
        // In this order: what has landed by then is found and forgotten.
        self.flights.forget(key);
        self.shelf.invalidate(key);
        // And a flight that began in between, perhaps with what was there as a spare, is no more joined.
        self.flights.bump_generation();
        self.flights.forget(key);
        true
    }

    fn invalidate_resource(&self, subject: u64) {
        self.shelf.invalidate_resource(subject);
    }

    fn clear(&self) {
        self.flights.clear();
        self.shelf.invalidate_all();
        self.flights.bump_generation();
        self.flights.clear();
    }
}

// No call is in flight any more, for each holds the layer that this belongs to.
impl<C: Call> Drop for TypedState<C> {
    fn drop(&mut self) {
        self.flights.empty();
    }
}

pub(crate) type CallFlight<C> = Flight<<C as Call>::Key, Work<C>, FlightResult<C>>;
pub(crate) type CallFlights<C> = FlightTable<<C as Call>::Key, Work<C>, FlightResult<C>>;
