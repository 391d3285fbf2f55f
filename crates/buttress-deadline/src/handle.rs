use std::sync::{Arc, atomic::Ordering};

use crate::settings::{DeadlineState, Settings};

/// Live numbers of a [`DeadlineLayer`](crate::DeadlineLayer), over all its services.
#[derive(Clone, Debug)]
pub struct DeadlineHandle {
    state: Arc<DeadlineState>,
}

impl DeadlineHandle {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { state: Arc::clone(&settings.state) }
    }

    /// Calls whose deadline had passed before they began, or left nothing to announce.
    pub fn expired(&self) -> u64 {
        self.state.expired.load(Ordering::Relaxed)
    }

    /// Those of them that were rejected, or would have been if the layer did not only observe.
    pub fn rejected(&self) -> u64 {
        self.state.rejected.load(Ordering::Relaxed)
    }

    /// Calls and bodies whose deadline passed while they ran or waited.
    pub fn exceeded(&self) -> u64 {
        self.state.exceeded.load(Ordering::Relaxed)
    }

    /// Calls and bodies that are pending under this layer's shared timers.
    pub fn in_flight(&self) -> usize {
        self.state.timers.pending()
    }
}
