use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of bytes that all shared responses of a layer may hold together.
#[derive(Debug)]
pub struct ByteBudget {
    // A plain counter. Relaxed everywhere, because the counter orders no other memory: `try_take`
    // never goes below zero, and a read may be outdated at once.
    left: AtomicUsize,
}

impl ByteBudget {
    /// Creates a budget of `bytes`.
    pub const fn new(bytes: usize) -> Self {
        Self { left: AtomicUsize::new(bytes) }
    }

    /// Takes `bytes`. Returns `false`, and takes none, if fewer are left.
    pub fn try_take(&self, bytes: usize) -> bool {
        let taken = |left: usize| left.checked_sub(bytes);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }

    /// Returns `bytes` that were taken.
    pub fn give_back(&self, bytes: usize) {
        // `fetch_add` wraps. `ByteReservation::shrink` in `buttress-http` returns no byte twice, so
        // the counter stays within the budget.
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns the number of bytes left.
    pub fn remaining(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }
}
