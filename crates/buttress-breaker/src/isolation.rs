use std::fmt;

use crate::circuits::{HeldCircuit, Host, OneCircuit};

/// Keeps a circuit open until it is dropped. Returned by
/// [`BreakerHandle::isolate`](crate::BreakerHandle::isolate).
///
/// Isolations are counted: the circuit closes when the last is dropped.
#[must_use = "the isolation ends when this is dropped"]
pub struct Isolation {
    held: OneCircuit,
}

impl Isolation {
    pub(crate) fn new(held: OneCircuit) -> Self {
        // Made first: if the event of the change panics, the drop takes the isolation back.
        let isolation = Self { held };
        isolation.held.circuit().law.isolate(&Host::new(&isolation.held, None));
        isolation
    }
}

impl Drop for Isolation {
    fn drop(&mut self) {
        self.held.circuit().law.end_isolation(&Host::new(&self.held, None));
    }
}

impl fmt::Debug for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Isolation").finish_non_exhaustive()
    }
}
