use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use buttress_control::{Circuit, CircuitCounts, CircuitRules, Nanos};
use tokio::time::Instant;

/// A circuit with its clock and its counters, which all its calls and handles share.
#[derive(Debug)]
pub struct SharedCircuit {
    pub(crate) law: Circuit,
    /// The epoch of `law`.
    began: Instant,
    counters: Counters,
    /// The counters of all keys together, for a circuit of one key.
    all_keys: Option<Arc<Counters>>,
}

impl SharedCircuit {
    pub(crate) fn new(rules: CircuitRules) -> Self {
        Self {
            law: Circuit::new(rules),
            began: Instant::now(),
            counters: Counters::default(),
            all_keys: None,
        }
    }

    #[inline]
    pub(crate) fn now(&self) -> Nanos {
        Nanos::from(Instant::now().saturating_duration_since(self.began))
    }

    pub(crate) fn counts(&self) -> CircuitCounts {
        self.law.counts(self.now())
    }

    /// The text of its key, if the circuit is of one key and the key has a text.
    pub(crate) const fn key(&self) -> Option<&str> {
        None
    }

    pub(crate) const fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn note(&self, counter: Counter) {
        self.counters.note(counter);
        if let Some(all_keys) = &self.all_keys {
            all_keys.note(counter);
        }
    }
}

/// Counts of a circuit, or of all circuits of a layer.
///
/// Each counter stands for itself and orders no other memory, so all accesses are `Relaxed`.
#[derive(Debug, Default)]
pub struct Counters {
    rejected: AtomicU64,
    spare_refused: AtomicU64,
    opened: AtomicU64,
}

impl Counters {
    fn note(&self, counter: Counter) {
        self.of(counter).fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self, counter: Counter) -> u64 {
        self.of(counter).load(Ordering::Relaxed)
    }

    const fn of(&self, counter: Counter) -> &AtomicU64 {
        match counter {
            Counter::Rejected => &self.rejected,
            Counter::SpareRefused => &self.spare_refused,
            Counter::Opened => &self.opened,
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Counter {
    Rejected,
    SpareRefused,
    Opened,
}
