use std::sync::Arc;

use buttress_control::CircuitRules;
use buttress_core::{Bind, By, ByMode, FixedKey, KeyOf, Plain, StateScope};
use tower_layer::Layer;

use crate::{
    Breaker, BreakerHandle,
    circuits::{Circuits, KeyedCircuits, OneCircuit, SharedCircuit},
    settings::Settings,
};

mod options;

/// Rejects calls while their service fails, and lets a few calls through to see whether it has
/// recovered.
///
/// All clones of a layer, and all services it makes, share their circuits, unless the layer is
/// [`per_service`](Self::per_service). An option that sets a rule of the circuit
/// ([`failures`](Self::failures), [`consecutive`](Self::consecutive), [`slow`](Self::slow),
/// [`window`](Self::window), [`open_for`](Self::open_for), [`probes`](Self::probes),
/// [`ramp`](Self::ramp), [`probe_patience`](Self::probe_patience)) or the keys
/// ([`keyed`](Self::keyed), [`per`](Self::per), [`max_keys`](BreakerLayer::max_keys)) returns a layer
/// with fresh state. Clones and handles made before keep the former state. Every other option changes
/// this value only.
#[derive(Clone, Debug)]
#[doc(alias("circuit breaker"))]
pub struct BreakerLayer<M = Plain, C = OneCircuit, J = ByMode> {
    circuits: C,
    mode: M,
    judge: J,
}

impl BreakerLayer {
    /// Creates a layer with the [default](crate#defaults) rules.
    pub fn new() -> Self {
        let circuit = SharedCircuit::new(CircuitRules::new());
        let circuits = OneCircuit::new(Arc::new(circuit), Arc::new(Settings::new()));
        Self { circuits, mode: Plain, judge: ByMode }
    }
}

impl Default for BreakerLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<M, C, J> BreakerLayer<M, C, J> {
    /// Replaces the mode's classification of outcomes. Default: the mode's.
    ///
    /// Takes a closure `|outcome: Result<&Response, &Error>| -> Verdict`, or any
    /// [`Classify`](buttress_core::Classify). Write the type of the closure's argument out.
    /// Otherwise the closure is not general enough for the compiler.
    ///
    /// A service with an error type of its own needs this option in `Plain` mode. Otherwise a
    /// rejection inside that error looks like any other failure.
    #[doc(alias("is_retryable", "failure predicate"))]
    pub fn classify<F>(self, classify: F) -> BreakerLayer<M, C, By<F>> {
        BreakerLayer { circuits: self.circuits, mode: self.mode, judge: By(classify) }
    }
}

impl<M, C: Circuits, J> BreakerLayer<M, C, J> {
    /// Returns the handle of the circuits: live numbers, and control by hand.
    pub fn handle(&self) -> BreakerHandle<C::View> {
        BreakerHandle::new(self.circuits.view())
    }

    /// Gives each key, such as a host, a shard or a method, a circuit of its own. A request without
    /// a key passes unrecorded. See [`KeyedCircuits`].
    ///
    /// Returns a layer with fresh state.
    #[doc(alias("per host", "per tenant", "per key"))]
    pub fn keyed<Req, F>(self, key: F) -> BreakerLayer<M, KeyedCircuits<F::Key, F>, J>
    where
        F: KeyOf<Req>,
    {
        self.with_key(key)
    }

    /// Gives each key a circuit of its own, as [`keyed`](Self::keyed) does. The key has
    /// one type for all requests, such as `buttress_http::Authority`, the host of a request.
    ///
    /// Returns a layer with fresh state.
    #[doc(alias("per host", "per authority"))]
    pub fn per<F>(self, key: F) -> BreakerLayer<M, KeyedCircuits<<F as FixedKey>::Key, F>, J>
    where
        F: FixedKey,
    {
        self.with_key(key)
    }

    fn with_key<K, F>(self, key: F) -> BreakerLayer<M, KeyedCircuits<K, F>, J> {
        let settings = Arc::clone(self.circuits.settings());
        let circuits = KeyedCircuits::new(self.circuits.rules(), settings, key);
        BreakerLayer { circuits, mode: self.mode, judge: self.judge }
    }

    fn with(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Arc::clone(self.circuits.settings());
        change(Arc::make_mut(&mut settings));
        Self { circuits: self.circuits.with_settings(settings), ..self }
    }

    fn with_rules(self, change: impl FnOnce(CircuitRules) -> CircuitRules) -> Self {
        Self { circuits: self.circuits.fresh(change(self.circuits.rules())), ..self }
    }
}

impl<S, M: Clone, C: Circuits, J: Clone> Layer<S> for BreakerLayer<M, C, J> {
    type Service = Breaker<S, M, C, J>;

    fn layer(&self, inner: S) -> Self::Service {
        let circuits = match self.circuits.settings().scope {
            StateScope::PerLayer => self.circuits.clone(),
            StateScope::PerService => self.circuits.fresh(self.circuits.rules()),
        };
        Breaker::new(inner, circuits, self.mode.clone(), self.judge.clone())
    }
}

impl<M0, M, C, J> Bind<M> for BreakerLayer<M0, C, J> {
    type Bound = BreakerLayer<M, C, J>;

    fn bind(self, mode: M) -> BreakerLayer<M, C, J> {
        BreakerLayer { circuits: self.circuits, mode, judge: self.judge }
    }
}
