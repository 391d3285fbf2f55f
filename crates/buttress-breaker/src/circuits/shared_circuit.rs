use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use buttress_control::{Circuit, CircuitCounts, CircuitRules, Nanos};
use buttress_state::{Fresh, LimitClock, Total};

/// A circuit with its clock and its counters, which all its calls and handles share.
#[derive(Debug)]
pub struct SharedCircuit {
    pub(crate) law: Circuit,
    clock: LimitClock,
    counters: Counters,
    /// The text of the key, for events. Empty for a circuit without a key, and for a key without a
    /// text.
    key: OnceLock<Box<str>>,
}

impl SharedCircuit {
    pub(crate) fn new(rules: CircuitRules) -> Self {
        Self {
            law: Circuit::new(rules),
            clock: LimitClock::new(),
            counters: Counters::default(),
            key: OnceLock::new(),
        }
    }

    #[inline]
    pub(crate) fn now(&self) -> Nanos {
        self.clock.now()
    }

    pub(crate) fn counts(&self) -> CircuitCounts {
        self.law.counts(self.now())
    }

    pub(crate) const fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn key(&self) -> Option<&str> {
        self.key.get().map(AsRef::as_ref)
    }

    pub(crate) fn set_key(&self, key: Box<str>) {
        // Another call may have set the same text.
        let _ = self.key.set(key);
    }
}

impl Fresh for SharedCircuit {
    fn fresh(&self) -> Self {
        Self::new(self.law.rules())
    }

    fn is_idle(&self) -> bool {
        self.law.is_fresh(self.now())
    }
}

/// The live counters of a circuit.
///
/// Each counter stands for itself and orders no other memory, so all accesses are `Relaxed`.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    rejected: AtomicU64,
    spare_refused: AtomicU64,
    opened: AtomicU64,
}

impl Counters {
    pub(crate) fn note_rejected(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_spare_refused(&self) {
        self.spare_refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            rejected: self.rejected.load(Ordering::Relaxed),
            spare_refused: self.spare_refused.load(Ordering::Relaxed),
            opened: self.opened.load(Ordering::Relaxed),
        }
    }
}

/// What the circuits of a layer have counted so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub(crate) rejected: u64,
    pub(crate) spare_refused: u64,
    pub(crate) opened: u64,
}

impl Total<SharedCircuit> for Totals {
    fn add(&mut self, circuit: &SharedCircuit) {
        self.merge(&circuit.counters.totals());
    }

    fn merge(&mut self, other: &Self) {
        self.rejected += other.rejected;
        self.spare_refused += other.spare_refused;
        self.opened += other.opened;
    }
}
