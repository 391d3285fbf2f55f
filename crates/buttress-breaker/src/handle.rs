use std::{fmt, hash::Hash, time::Duration};

use buttress_control::{CircuitCounts, CircuitRules, CircuitState};

use crate::{
    Isolation,
    circuits::{Circuits, HeldCircuit, Host, KeyedCircuits, OneCircuit, Totals},
};

/// Live numbers of a [`BreakerLayer`](crate::BreakerLayer), over all its services, and control by
/// hand.
///
/// If the layer is [`per_service`](crate::BreakerLayer::per_service), the handle of a
/// [`Breaker`](crate::Breaker) belongs to that service and its clones alone.
///
/// ```
/// use buttress_breaker::{BreakerHandle, BreakerLayer, CircuitState};
///
/// struct Admin {
///     payments: BreakerHandle,
/// }
///
/// let layer = BreakerLayer::new().named("payments");
/// let admin = Admin { payments: layer.handle() };
/// let maintenance = admin.payments.isolate();
/// assert_eq!(admin.payments.state(), CircuitState::Isolated);
/// drop(maintenance);
/// assert_eq!(admin.payments.state(), CircuitState::Closed);
/// ```
#[derive(Clone)]
pub struct BreakerHandle<C = OneCircuit> {
    pub(crate) circuits: C,
}

impl<C> BreakerHandle<C> {
    pub(crate) const fn new(circuits: C) -> Self {
        Self { circuits }
    }
}

impl BreakerHandle {
    /// Returns the state of the circuit. An interval or a ramp that has ended shows with the next
    /// call.
    pub fn state(&self) -> CircuitState {
        self.circuits.circuit().law.state()
    }

    /// Opens the circuit for one interval. Does nothing while the circuit is
    /// [isolated](Self::isolate).
    #[doc(alias("trip", "force open"))]
    pub fn open(&self) {
        self.circuits.circuit().law.open(&self.host());
    }

    /// Closes the circuit, with an empty window and the first interval. Does nothing while the
    /// circuit is [isolated](Self::isolate).
    #[doc(alias("reset"))]
    pub fn close(&self) {
        self.circuits.circuit().law.close(&self.host());
    }

    /// Admits all calls from now on and records none, until [`close`](Self::close) or
    /// [`open`](Self::open). Does nothing while the circuit is [isolated](Self::isolate).
    #[doc(alias("force closed"))]
    pub fn disable(&self) {
        self.circuits.circuit().law.disable(&self.host());
    }

    /// Keeps the circuit open until the returned guard, and all others, are dropped. The circuit
    /// then closes.
    #[doc(alias("maintenance"))]
    pub fn isolate(&self) -> Isolation {
        Isolation::new(self.circuits.clone())
    }

    fn host(&self) -> Host<'_> {
        Host::new(&self.circuits, None)
    }
}

impl<C: Circuits> BreakerHandle<C> {
    /// Returns the numbers of the window that ends now, of all keys together.
    pub fn counts(&self) -> CircuitCounts {
        self.circuits.counts()
    }

    /// Returns the number of calls that were rejected, or would have been under
    /// [`observe`](crate::BreakerLayer::observe). Refused spare calls are not among them.
    pub fn rejected(&self) -> u64 {
        self.circuits.totals().rejected
    }

    /// Returns the number of [spare](buttress_core::Attempt::spare) calls that were refused, or
    /// would have been under [`observe`](crate::BreakerLayer::observe).
    pub fn spare_refused(&self) -> u64 {
        self.circuits.totals().spare_refused
    }

    /// Returns how often a circuit has opened, by its rules or by hand.
    pub fn opened(&self) -> u64 {
        self.circuits.totals().opened
    }

    /// Returns the rules.
    pub fn rules(&self) -> CircuitRules {
        self.circuits.rules()
    }

    /// Returns the [patience](crate::BreakerLayer::patience) with calls without an answer, if it was
    /// set.
    pub fn patience(&self) -> Option<Duration> {
        self.circuits.settings().patience
    }

    /// Replaces the rules of all circuits, of those of later keys too.
    ///
    /// A running interval ends when it would have ended. If the length of the window changes, the
    /// window begins empty.
    pub fn set_rules(&self, rules: CircuitRules) {
        self.circuits.set_rules(rules);
    }

    /// Returns all numbers at once.
    pub fn snapshot(&self) -> BreakerSnapshot {
        let Totals { rejected, spare_refused, opened } = self.circuits.totals();
        let (state, counts) = (self.circuits.state(), self.counts());
        BreakerSnapshot { state, counts, rejected, spare_refused, opened }
    }
}

impl<K: Hash + Eq> BreakerHandle<KeyedCircuits<K>> {
    /// Returns the number of keys in use, and drops all others.
    pub fn keys(&self) -> usize {
        self.circuits.keys()
    }

    /// Returns the handle of one key's circuit. `None` if no call has used the key, or the key was
    /// dropped.
    ///
    /// The handle counts for this key alone, and keeps the key in use. Rules that are set through the
    /// handle last until the key is dropped.
    pub fn for_key(&self, key: &K) -> Option<BreakerHandle> {
        self.circuits.known(key).map(BreakerHandle::new)
    }

    /// Returns the keys in use with their handles, in no order, and drops all other keys.
    ///
    /// The keys are cloned under a lock, so their `Clone` must not use this layer.
    pub fn circuits(&self) -> Vec<(K, BreakerHandle)>
    where
        K: Clone,
    {
        let handle = |(key, circuit)| (key, BreakerHandle::new(circuit));
        self.circuits.all().into_iter().map(handle).collect()
    }
}

/// Prints the [`BreakerSnapshot`].
impl<C: Circuits> fmt::Debug for BreakerHandle<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BreakerHandle").field(&self.snapshot()).finish()
    }
}

/// The numbers of a [`BreakerHandle`] at one time.
///
/// The numbers are read one after the other while calls go on, so they need not fit together
/// exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerSnapshot {
    /// [`BreakerHandle::state`]. `None` if each key has a circuit of its own.
    pub state: Option<CircuitState>,
    /// [`BreakerHandle::counts`].
    pub counts: CircuitCounts,
    /// [`BreakerHandle::rejected`].
    pub rejected: u64,
    /// [`BreakerHandle::spare_refused`].
    pub spare_refused: u64,
    /// [`BreakerHandle::opened`].
    pub opened: u64,
}
