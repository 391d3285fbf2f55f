use std::sync::Arc;

use buttress_core::ByteBudget;

/// The bytes of a budget that a response holds, returned on drop.
#[derive(Debug)]
pub(super) struct ByteReservation {
    budget: Arc<ByteBudget>,
    /// The bytes taken from the budget. More than `used` if the length was known in advance, less
    /// if the window was overdrawn.
    taken: usize,
    used: usize,
}

impl ByteReservation {
    /// Takes at least the `bytes` that will be used. `None` if fewer are left.
    pub(super) fn reserve(budget: &Arc<ByteBudget>, bytes: usize) -> Option<Self> {
        let budget = Arc::clone(budget);
        budget.try_take(bytes).then(|| Self { budget, taken: bytes, used: 0 })
    }

    /// Uses `bytes` more, up to `cap` in all. `false` if they are not available.
    pub(super) fn grow(&mut self, bytes: usize, cap: usize) -> bool {
        if self.used.checked_add(bytes).is_none_or(|used| used > cap) {
            return false;
        }
        // The fields change only after the budget has agreed. Otherwise a refused
        // `Window::reserve`, which overdraws or asks again, would count the bytes twice.
        let missing = self.missing(bytes);
        if !self.budget.try_take(missing) {
            return false;
        }
        self.taken += missing;
        self.used += bytes;
        true
    }

    /// Uses `bytes` more in any case, and takes them from the budget only if they are left.
    pub(super) fn overdraw(&mut self, bytes: usize) {
        let missing = self.missing(bytes);
        if self.budget.try_take(missing) {
            self.taken = self.taken.saturating_add(missing);
        }
        self.used = self.used.saturating_add(bytes);
    }

    /// The bytes to return before `bytes` more can be used, up to `cap` in all.
    pub(super) fn shortage(&self, bytes: usize, cap: usize) -> usize {
        // `remaining` may be outdated at once, because all bodies of the layer take from the
        // budget. `grow` decides.
        let over = self.used.saturating_add(bytes).saturating_sub(cap);
        over.max(self.missing(bytes).saturating_sub(self.budget.remaining()))
    }

    /// Returns `bytes` that were used, and all that were not.
    pub(super) fn shrink(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
        // After `overdraw`, `taken` may be less than `used`. Then nothing is spare, and no byte is
        // returned that was never taken.
        let spare = self.taken.saturating_sub(self.used);
        self.taken -= spare;
        self.budget.give_back(spare);
    }

    /// Returns all bytes.
    pub(super) fn clear(&mut self) {
        self.shrink(self.used);
    }

    fn missing(&self, bytes: usize) -> usize {
        self.used.saturating_add(bytes).saturating_sub(self.taken)
    }
}

impl Drop for ByteReservation {
    fn drop(&mut self) {
        self.clear();
    }
}
