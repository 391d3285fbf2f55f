use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes the responses may hold that a layer shares, all of them together.
#[derive(Debug)]
pub struct ByteBudget {
    left: AtomicUsize,
}

impl ByteBudget {
    /// An allowance of `bytes`.
    pub const fn new(bytes: usize) -> Self {
        Self { left: AtomicUsize::new(bytes) }
    }

    /// Takes `bytes`, or nothing where there are not as many left.
    pub fn try_take(&self, bytes: usize) -> bool {
        let taken = |left: usize| left.checked_sub(bytes);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }

    /// Gives back `bytes` that were taken.
    pub fn give_back(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The bytes that are left.
    pub fn remaining(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }
}
