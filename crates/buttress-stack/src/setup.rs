use std::sync::Arc;

use buttress_state::Budget;

use crate::{
    handle::{Handles, Live, Turns},
    place::Place,
};

/// The options that apply to all layers of a stack.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) preset: &'static str,
    pub(crate) name: String,
    pub(crate) seed: Option<u64>,
    /// The budget that the user gave.
    pub(crate) budget: Option<Budget>,
    /// The budget that the stack gave to the hedge. Any other budget there is the user's.
    pub(crate) hedge_budget: Option<Budget>,
    pub(crate) turns: Arc<Turns>,
}

impl Setup {
    pub(crate) fn new(preset: &'static str, name: &str) -> Self {
        Self {
            preset,
            name: name.to_owned(),
            seed: None,
            budget: None,
            hedge_budget: None,
            turns: Arc::default(),
        }
    }

    /// The same for a stack with other layers, whose settings are its own.
    pub(crate) fn changed(self) -> Self {
        Self { turns: Arc::default(), ..self }
    }

    /// Emits the misfits of the stack once for each name, for all services.
    pub(crate) fn report_once(&self, handle: impl FnOnce() -> Live) {
        if self.turns.is_first_report(&self.name) {
            handle().report();
        }
    }

    /// The running stack of these layers.
    pub(crate) fn live(&self, handles: Handles) -> Live {
        let is_shared = self.hedge_budget.is_some();
        Live::new(self.preset, self.name.clone(), handles, is_shared, Arc::clone(&self.turns))
    }

    /// The name of the layer in this place.
    pub(crate) fn name_of(&self, place: &str) -> String {
        format!("{}.{place}", self.name)
    }

    /// The layer of this place with a stream of random numbers of its own, if the stack has a seed.
    pub(crate) fn reseeded<L: Place>(&self, place: u64, layer: L) -> L {
        match self.seed {
            Some(seed) => layer.reseeded(seed ^ place),
            None => layer,
        }
    }
}
