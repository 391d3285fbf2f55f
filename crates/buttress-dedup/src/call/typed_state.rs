use std::{any::Any, sync::Arc};

use super::{FlightTableIn, KeyIn, ShelfIn};
use crate::{
    CachePolicy, Setup, SharedService,
    cache::CacheControls,
    flight::FlightTable,
    state::{AnyTypedState, Numbers},
};

/// The state of a layer over services of one type, for requests of one type.
pub(crate) struct TypedState<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    pub(crate) flights: Arc<FlightTableIn<S, Req, C>>,
    pub(crate) shelf: Arc<ShelfIn<S, Req, C>>,
}

impl<S, Req, C> TypedState<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    pub(crate) fn new(setup: &C) -> Self {
        let core = setup.core();
        Self { flights: Arc::new(FlightTable::new()), shelf: Arc::new(core.shared.policy.open()) }
    }
}

impl<S, Req, C> AnyTypedState for TypedState<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    fn numbers(&self) -> Numbers {
        let (flights, waiters) = self.flights.in_flight();
        let (led, joined) = self.flights.counts();
        let (kept, kept_bytes) = self.shelf.size();
        let handed_over = self.flights.handed_over();
        Numbers { flights, waiters, led, joined, handed_over, kept, kept_bytes }
    }

    fn forget(&self, key: &dyn Any) -> bool {
        let Some(key) = key.downcast_ref::<KeyIn<S, Req, C>>() else { return false };
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
impl<S, Req, C> Drop for TypedState<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    fn drop(&mut self) {
        self.flights.empty();
    }
}
