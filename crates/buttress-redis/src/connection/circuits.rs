use super::{
    nodes::SLOTS,
    tasks::{Claim, IsRunning},
};

/// A circuit for each part of the store. While a circuit is open, the operations of its part fail at
/// once, and its probe runs.
#[derive(Debug)]
pub(super) struct Circuits(Box<[IsRunning]>);

impl Circuits {
    /// A circuit for a store that is a single server.
    pub(super) fn one() -> Self {
        Self(Box::new([IsRunning::default()]))
    }

    /// A circuit for each 256 hash slots.
    #[cfg(feature = "cluster")]
    pub(super) fn by_slot() -> Self {
        Self((0..PARTS).map(|_| IsRunning::default()).collect())
    }

    /// Returns the part of the store that holds `slot`.
    pub(super) fn part_of(&self, slot: u16) -> usize {
        usize::from(slot) * self.0.len() / usize::from(SLOTS)
    }

    pub(super) fn is_open(&self, part: usize) -> bool {
        self.0.get(part).is_some_and(IsRunning::get)
    }

    /// Opens a circuit until the claim is dropped. `None`: the circuit is open already.
    pub(super) fn open(&self, part: usize) -> Option<Claim> {
        self.0.get(part)?.claim()
    }

    pub(super) fn open_now(&self) -> usize {
        self.0.iter().filter(|circuit| circuit.get()).count()
    }
}

#[cfg(feature = "cluster")]
const PARTS: u16 = SLOTS / 256;
