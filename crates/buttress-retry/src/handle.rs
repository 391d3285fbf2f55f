use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use buttress_control::Backoff;
use buttress_core::Origin;

use crate::{
    Budget, StopCounts, StopReason,
    settings::{RetryState, Settings},
};

/// Live numbers of a [`RetryLayer`](crate::RetryLayer), summed over the services that share them, and
/// setters that change the layer while calls run.
///
/// ```
/// use buttress_retry::RetryLayer;
///
/// let handle = RetryLayer::new(3).handle();
/// handle.set_attempts(1);
/// assert_eq!(handle.attempts(), 1);
/// ```
#[derive(Clone)]
pub struct RetryHandle {
    pub(crate) origin: Origin,
    budget: Budget,
    state: Arc<RetryState>,
}

impl RetryHandle {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            origin: settings.origin.clone(),
            budget: settings.budget.clone(),
            state: Arc::clone(&settings.state),
        }
    }

    /// Returns the maximum number of attempts of a call, the first included. At least 1.
    pub fn attempts(&self) -> u32 {
        self.state.attempts()
    }

    /// Sets the maximum number of attempts of a call, the first included, for all services that
    /// share these numbers. Zero and 1 make a single attempt.
    ///
    /// A call asks for the number after each failed attempt. So a lower number ends the running
    /// calls with their next failure. A call that waits for an attempt still makes that attempt. A
    /// call that began while the number was 1 is not repeated, because its request was not kept.
    ///
    /// If the layer is [`per_service`](crate::RetryLayer::per_service), its handle sets the number
    /// for the services that it makes from now on.
    pub fn set_attempts(&self, attempts: u32) {
        self.state.set_attempts(attempts);
    }

    /// Returns the wait before each attempt after the first.
    pub fn backoff(&self) -> Backoff {
        self.state.backoff()
    }

    /// Sets the wait before each attempt after the first, for all services that share these numbers.
    ///
    /// A call that waits keeps its wait, and draws the next wait from the new backoff. If the layer
    /// is [`per_service`](crate::RetryLayer::per_service), its handle sets the backoff of the
    /// services that it makes from now on.
    pub fn set_backoff(&self, backoff: Backoff) {
        self.state.set_backoff(backoff);
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
