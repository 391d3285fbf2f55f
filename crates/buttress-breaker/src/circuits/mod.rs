use std::sync::Arc;

use buttress_control::{CircuitCounts, CircuitRules, CircuitState};

use crate::settings::Settings;

mod host;
mod keyed;
mod one;
mod shared_circuit;

pub(crate) use self::{
    host::Host,
    shared_circuit::{SharedCircuit, Totals},
};

pub use self::{keyed::KeyedCircuits, one::OneCircuit};

/// The circuits of a layer: [`OneCircuit`], or one for each key ([`KeyedCircuits`]).
///
/// This trait is sealed. Use it as a bound.
pub trait Circuits: Clone + sealed::Sealed {
    /// The circuits without the key, for handles.
    #[doc(hidden)]
    type View: Circuits;

    #[doc(hidden)]
    fn view(&self) -> Self::View;

    /// The same options, over circuits in their first state, with these rules.
    #[doc(hidden)]
    #[must_use]
    fn fresh(&self, rules: CircuitRules) -> Self;

    #[doc(hidden)]
    fn settings(&self) -> &Arc<Settings>;

    /// The same circuits under other options.
    #[doc(hidden)]
    #[must_use]
    fn with_settings(self, settings: Arc<Settings>) -> Self;

    #[doc(hidden)]
    fn rules(&self) -> CircuitRules;

    #[doc(hidden)]
    fn set_rules(&self, rules: CircuitRules);

    /// `None` if each key has a state of its own.
    #[doc(hidden)]
    fn state(&self) -> Option<CircuitState>;

    /// The number of circuits in each state, in the order of [`CircuitState::ALL`].
    #[doc(hidden)]
    fn states(&self) -> [u64; CircuitState::ALL.len()];

    /// The number of keys in use. `None` if there is one circuit for all calls.
    #[doc(hidden)]
    fn key_count(&self) -> Option<usize>;

    /// The counts of all circuits together.
    #[doc(hidden)]
    fn counts(&self) -> CircuitCounts;

    /// The numbers of all circuits together, those of dropped keys included.
    #[doc(hidden)]
    fn totals(&self) -> Totals;
}

/// Finds the circuit of a request.
///
/// This trait is sealed. Use it as a bound.
pub trait CircuitOf<Req>: Circuits {
    /// A circuit that a call holds.
    #[doc(hidden)]
    type Held: HeldCircuit;

    /// `None` if the request has no key.
    #[doc(hidden)]
    fn circuit(&self, request: &Req) -> Option<Self::Held>;
}

/// A circuit and the options of the layer, as a call holds them.
pub trait HeldCircuit: sealed::Sealed {
    #[doc(hidden)]
    fn circuit(&self) -> &SharedCircuit;

    #[doc(hidden)]
    fn settings(&self) -> &Settings;
}

/// Counts a circuit in its state.
fn count_state(states: &mut [u64; CircuitState::ALL.len()], state: CircuitState) {
    if let Some((count, _)) = states.iter_mut().zip(CircuitState::ALL).find(|(_, of)| **of == state)
    {
        *count += 1;
    }
}

pub(crate) mod sealed {
    pub trait Sealed {}
}
