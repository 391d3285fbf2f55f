use std::sync::Arc;

use buttress_core::ByteBudget;

/// The bytes of an allowance that one response holds. They are given back when it is dropped.
#[derive(Debug)]
pub(super) struct ByteReservation {
    allowance: Arc<ByteBudget>,
    /// Taken from the allowance. More than is used where the length was known before, less where the
    /// window was overdrawn.
    taken: usize,
    used: usize,
}

impl ByteReservation {
    /// Takes the `bytes` that will be used at least, or `None` where there are not as many.
    pub(super) fn reserve(allowance: &Arc<ByteBudget>, bytes: usize) -> Option<Self> {
        let allowance = Arc::clone(allowance);
        allowance.try_take(bytes).then(|| Self { allowance, taken: bytes, used: 0 })
    }

    /// Uses `bytes` more, `cap` in all. `false` if they are not to be had.
    pub(super) fn grow(&mut self, bytes: usize, cap: usize) -> bool {
        if self.used.checked_add(bytes).is_none_or(|used| used > cap) {
            return false;
        }
        let missing = self.missing(bytes);
        if !self.allowance.try_take(missing) {
            return false;
        }
        self.taken += missing;
        self.used += bytes;
        true
    }

    /// Uses `bytes` more, whatever there is. Takes them from the allowance only if it has them.
    pub(super) fn overdraw(&mut self, bytes: usize) {
        let missing = self.missing(bytes);
        if self.allowance.try_take(missing) {
            self.taken = self.taken.saturating_add(missing);
        }
        self.used = self.used.saturating_add(bytes);
    }

    /// How many bytes must be given up before `bytes` more can be used, `cap` in all.
    pub(super) fn shortage(&self, bytes: usize, cap: usize) -> usize {
        let over = self.used.saturating_add(bytes).saturating_sub(cap);
        over.max(self.missing(bytes).saturating_sub(self.allowance.remaining()))
    }

    /// Gives back `bytes` that were used, and all that were not.
    pub(super) fn shrink(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
        let spare = self.taken.saturating_sub(self.used);
        self.taken -= spare;
        self.allowance.give_back(spare);
    }

    /// Gives everything back.
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
