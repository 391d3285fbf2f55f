use std::{
    any::Any,
    borrow::{Borrow, Cow},
    fmt,
    hash::Hash,
    sync::Arc,
};

use buttress_control::{CircuitCounts, CircuitRules, CircuitState};
use buttress_core::{KeyLookup, KeyOf};
use buttress_state::KeyTable;

use super::{
    CircuitOf, Circuits, HeldCircuit, OneCircuit, SharedCircuit, Totals, count_state, sealed,
};
use crate::settings::Settings;

/// A circuit of its own for each key.
///
/// The type of a closure's argument must be written out. The closure returns an owned key.
///
/// ```
/// use buttress_breaker::BreakerLayer;
///
/// let shard = |(shard, _): &(u32, &'static str)| Some(*shard);
/// let layer = BreakerLayer::new().keyed(shard).max_keys(1000);
/// assert_eq!(layer.handle().keys(), 0);
/// ```
///
/// A key is in use from its first call until its circuit equals a new one: closed with an empty
/// window, or without calls for longer than the longest interval after it opened. A circuit that is
/// disabled or isolated stays in use, and so does one with a call in flight or a handle. The other
/// keys are dropped, when later calls come or [`keys`](crate::BreakerHandle::keys) is called.
///
/// While the maximum number of keys is in use, 65,536 unless
/// [`max_keys`](crate::BreakerLayer::max_keys) is set, all further keys share a circuit.
#[doc(alias("per host", "per key"))]
pub struct KeyedCircuits<K, F = ()> {
    table: Arc<KeyTable<K, SharedCircuit, Totals>>,
    settings: Arc<Settings>,
    key: F,
}

impl<K, F> KeyedCircuits<K, F> {
    pub(crate) fn new(rules: CircuitRules, settings: Arc<Settings>, key: F) -> Self {
        Self::with_max(rules, MAX_KEYS, settings, key)
    }

    fn with_max(rules: CircuitRules, max: usize, settings: Arc<Settings>, key: F) -> Self {
        let table = KeyTable::new(SharedCircuit::new(rules), max);
        Self { table: Arc::new(table), settings, key }
    }
}

impl<K, F: Clone> KeyedCircuits<K, F> {
    /// The same options with no keys, and room for `max`.
    pub(crate) fn with_max_keys(&self, max: usize) -> Self {
        let rules = self.table.template().law.rules();
        Self::with_max(rules, max, Arc::clone(&self.settings), self.key.clone())
    }
}

impl<K: Hash + Eq, F> KeyedCircuits<K, F> {
    pub(crate) fn keys(&self) -> usize {
        self.table.len()
    }

    /// The circuit of a key in use.
    pub(crate) fn known(&self, key: &K) -> Option<OneCircuit> {
        Some(OneCircuit::new(self.table.known(key)?, Arc::clone(&self.settings)))
    }

    /// The keys in use with their circuits.
    pub(crate) fn all(&self) -> Vec<(K, OneCircuit)>
    where
        K: Clone,
    {
        let with_circuit = |key| self.known(&key).map(|circuit| (key, circuit));
        self.table.keys().into_iter().filter_map(with_circuit).collect()
    }
}

impl<K, F, Req> CircuitOf<Req> for KeyedCircuits<K, F>
where
    F: KeyOf<Req, Key = K>,
    K: Hash + Eq + Clone + Send + Sync + 'static,
{
    type Held = KeyedCircuit;

    #[inline]
    fn circuit(&self, request: &Req) -> Option<KeyedCircuit> {
        // The circuit leaves the table as an `Arc`, which keeps the key in use until the call ends.
        let circuit = self.key.look_up(request, NamingTable(&self.table))?;
        Some(KeyedCircuit { circuit, settings: Arc::clone(&self.settings) })
    }
}

/// The table, which gives the circuit of a new key the text of its key.
struct NamingTable<'a, K>(&'a KeyTable<K, SharedCircuit, Totals>);

impl<K: Hash + Eq + Clone + 'static> KeyLookup<K> for NamingTable<'_, K> {
    type Found = Arc<SharedCircuit>;

    #[inline]
    fn find(self, key: K) -> Arc<SharedCircuit> {
        self.find_by(&key, K::clone)
    }

    #[inline]
    fn find_by<'a, Q>(self, key: &'a Q, own: impl FnOnce(&'a Q) -> K) -> Arc<SharedCircuit>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut text = None;
        let circuit = self.0.get_by(key, |key| {
            let key = own(key);
            text = key_text(&key);
            key
        });
        if let Some(text) = text {
            self.name(&circuit, key, text);
        }
        circuit
    }
}

impl<K: Hash + Eq> NamingTable<'_, K> {
    #[cold]
    fn name<Q>(&self, circuit: &Arc<SharedCircuit>, key: &Q, text: Box<str>)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        // Without room for the key, `circuit` belongs to other keys too.
        if self.0.known(key).is_some_and(|own| Arc::ptr_eq(&own, circuit)) {
            circuit.set_key(text);
        }
    }
}

impl<K: Hash + Eq, F: Clone> Circuits for KeyedCircuits<K, F> {
    type View = KeyedCircuits<K>;

    fn view(&self) -> KeyedCircuits<K> {
        let (table, settings) = (Arc::clone(&self.table), Arc::clone(&self.settings));
        KeyedCircuits { table, settings, key: () }
    }

    fn fresh(&self, rules: CircuitRules) -> Self {
        let max = self.table.max_keys();
        Self::with_max(rules, max, Arc::clone(&self.settings), self.key.clone())
    }

    fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    fn with_settings(self, settings: Arc<Settings>) -> Self {
        Self { settings, ..self }
    }

    fn rules(&self) -> CircuitRules {
        self.table.template().law.rules()
    }

    fn set_rules(&self, rules: CircuitRules) {
        self.table.change(|circuit| circuit.law.set_rules(rules));
    }

    fn state(&self) -> Option<CircuitState> {
        None
    }

    fn states(&self) -> [u64; CircuitState::ALL.len()] {
        self.table.fold(Default::default(), |mut states, circuit| {
            count_state(&mut states, circuit.law.state());
            states
        })
    }

    fn key_count(&self) -> Option<usize> {
        Some(self.table.len())
    }

    fn counts(&self) -> CircuitCounts {
        self.table.fold(CircuitCounts::default(), |mut sum, circuit| {
            let counts = circuit.counts();
            sum.calls += counts.calls;
            sum.failures += counts.failures;
            sum.slow += counts.slow;
            sum
        })
    }

    fn totals(&self) -> Totals {
        self.table.total()
    }
}

impl<K, F> sealed::Sealed for KeyedCircuits<K, F> {}

impl<K, F: Clone> Clone for KeyedCircuits<K, F> {
    fn clone(&self) -> Self {
        let (table, settings) = (Arc::clone(&self.table), Arc::clone(&self.settings));
        Self { table, settings, key: self.key.clone() }
    }
}

impl<K, F> fmt::Debug for KeyedCircuits<K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCircuits").finish_non_exhaustive()
    }
}

/// The circuit of one key, as a call holds it.
pub struct KeyedCircuit {
    circuit: Arc<SharedCircuit>,
    settings: Arc<Settings>,
}

impl HeldCircuit for KeyedCircuit {
    #[inline]
    fn circuit(&self) -> &SharedCircuit {
        &self.circuit
    }

    #[inline]
    fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl sealed::Sealed for KeyedCircuit {}

/// The text of a key for events: that of a string or a number. Any other type need not have one.
fn key_text<K: 'static>(key: &K) -> Option<Box<str>> {
    let key: &dyn Any = key;
    macro_rules! text_of {
        ($($type:ty),*) => {
            $(if let Some(key) = key.downcast_ref::<$type>() {
                return Some(key.to_string().into_boxed_str());
            })*
        };
    }
    text_of!(Arc<str>, String, &'static str, Cow<'static, str>, Box<str>);
    text_of!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);
    None
}

const MAX_KEYS: usize = 65_536;
