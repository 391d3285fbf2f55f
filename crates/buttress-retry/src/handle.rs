use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use crate::{
    Budget, StopCounts, StopReason,
    settings::{RetryState, Settings},
};

/// Live numbers of a [`RetryLayer`](crate::RetryLayer), summed over the services that share them.
#[derive(Clone)]
pub struct RetryHandle {
    budget: Budget,
    state: Arc<RetryState>,
}

impl RetryHandle {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { budget: settings.budget.clone(), state: Arc::clone(&settings.state) }
    }

    /// Returns the number of calls. Further attempts of a call are [`retries`](Self::retries).
    pub fn calls(&self) -> u64 {
        self.state.calls.sum()
    }

    /// Returns the number of attempts after the first, of all calls. Under
    /// [`observe`](crate::RetryLayer::observe): the number of attempts that would have been
    /// scheduled.
    pub fn retries(&self) -> u64 {
        self.state.retries.load(Ordering::Relaxed)
    }

    /// Returns the number of failed calls that were not repeated because of `reason`.
    pub fn stopped(&self, reason: StopReason) -> u64 {
        self.state.stopped().get(reason)
    }

    /// Returns the budget that pays for the retries.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Returns all numbers at once. Calls may run in between, so the numbers need not agree.
    pub fn snapshot(&self) -> RetrySnapshot {
        RetrySnapshot {
            calls: self.calls(),
            retries: self.retries(),
            stopped: self.state.stopped(),
            budget: self.budget.balance(),
        }
    }
}

impl fmt::Debug for RetryHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RetryHandle").field(&self.snapshot()).finish()
    }
}

/// The numbers of a [`RetryHandle`] at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetrySnapshot {
    /// [`RetryHandle::calls`].
    pub calls: u64,
    /// [`RetryHandle::retries`].
    pub retries: u64,
    /// [`RetryHandle::stopped`], for each reason.
    pub stopped: StopCounts,
    /// [`Budget::balance`]. `None` if the budget is unlimited.
    pub budget: Option<u64>,
}
