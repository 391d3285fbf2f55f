use std::sync::{Arc, atomic::Ordering};

use crate::{
    Budget, StopReason,
    settings::{RetryState, Settings},
};

/// Live numbers of a [`RetryLayer`](crate::RetryLayer), over all its services.
#[derive(Clone, Debug)]
pub struct RetryHandle {
    budget: Budget,
    state: Arc<RetryState>,
}

impl RetryHandle {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { budget: settings.budget.clone(), state: Arc::clone(&settings.state) }
    }

    /// Attempts made after the first, of all calls.
    pub fn retries(&self) -> u64 {
        self.state.retries.load(Ordering::Relaxed)
    }

    /// Failed calls that were not repeated because of `why`.
    pub fn stopped(&self, why: StopReason) -> u64 {
        self.state.stopped(why).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// The budget the layer draws on.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }
}
