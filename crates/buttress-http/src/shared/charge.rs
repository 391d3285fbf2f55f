use std::{mem, sync::Arc};

use buttress_core::Allowance;

/// The bytes of an allowance that one response holds. They are given back when it is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    allowance: Arc<Allowance>,
    /// Taken from the allowance: what is used, or more where the length was known before.
    taken: usize,
    used: usize,
}

impl Charge {
    /// Takes the `bytes` that will be used at least, or `None` where there are not as many.
    pub(super) fn reserve(allowance: &Arc<Allowance>, bytes: usize) -> Option<Self> {
        let allowance = Arc::clone(allowance);
        allowance.take(bytes).then(|| Self { allowance, taken: bytes, used: 0 })
    }

    /// Uses `bytes` more, `cap` in all. `false` if they are not to be had.
    pub(super) fn grow(&mut self, bytes: usize, cap: usize) -> bool {
        let Some(used) = self.used.checked_add(bytes).filter(|used| *used <= cap) else {
            return false;
        };
        let missing = used.saturating_sub(self.taken);
        if !self.allowance.take(missing) {
            return false;
        }
        self.taken += missing;
        self.used = used;
        true
    }

    /// Gives back `bytes` that were used, and all that were not.
    pub(super) fn shrink(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
        let taken = mem::replace(&mut self.taken, self.used);
        self.allowance.give_back(taken.saturating_sub(self.used));
    }

    /// Hands all of it over, and is left with nothing.
    pub(super) fn split(&mut self) -> Self {
        let allowance = Arc::clone(&self.allowance);
        Self { allowance, taken: mem::take(&mut self.taken), used: mem::take(&mut self.used) }
    }

    /// Gives everything back.
    pub(super) fn clear(&mut self) {
        self.shrink(self.used);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.clear();
    }
}
