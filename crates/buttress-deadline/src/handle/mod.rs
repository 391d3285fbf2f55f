mod metrics;

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use buttress_core::Origin;

use crate::settings::{DeadlineState, Settings};

/// Live numbers of a [`DeadlineLayer`](crate::DeadlineLayer), summed over the services that share
/// them, and its timeout.
///
/// ```
/// use std::time::Duration;
/// use buttress_deadline::DeadlineLayer;
///
/// let handle = DeadlineLayer::new(Duration::from_secs(30)).handle();
/// handle.set_timeout(Duration::from_secs(10));
/// assert_eq!(handle.timeout(), Some(Duration::from_secs(10)));
/// ```
#[derive(Clone)]
pub struct DeadlineHandle {
    origin: Origin,
    state: Arc<DeadlineState>,
}

impl DeadlineHandle {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { origin: settings.origin.clone(), state: Arc::clone(&settings.state) }
    }

    /// Returns the layer's own timeout. `None` if the layer has none, as with
    /// [`propagate`](crate::DeadlineLayer::propagate).
    pub fn timeout(&self) -> Option<Duration> {
        self.state.timeout.get()
    }

    /// Sets the layer's own timeout, for all services that share these numbers.
    ///
    /// The values mean what they mean in [`DeadlineLayer::new`](crate::DeadlineLayer::new). `None`
    /// sets no timeout, as [`propagate`](crate::DeadlineLayer::propagate) does. Calls that run, or
    /// wait for readiness, keep the deadline that they began with. If the layer is
    /// [`per_service`](crate::DeadlineLayer::per_service), its handle sets the timeout of the
    /// services that it makes from now on.
    pub fn set_timeout(&self, timeout: impl Into<Option<Duration>>) {
        self.state.timeout.set(timeout.into());
    }

    /// Returns the number of calls, rejected calls included.
    pub fn calls(&self) -> u64 {
        self.state.calls.sum()
    }

    /// Returns the number of calls whose deadline had passed when they arrived, or left no time to
    /// announce.
    pub fn expired(&self) -> u64 {
        self.state.expired.load(Ordering::Relaxed)
    }

    /// Returns the number of expired calls that
    /// [`max_reject_ratio`](crate::DeadlineLayer::max_reject_ratio) let through. They are a part of
    /// [`expired`](Self::expired).
    pub fn served_late(&self) -> u64 {
        self.state.served_late.load(Ordering::Relaxed)
    }

    /// Returns the number of calls and bodies whose deadline passed while they ran, or waited for
    /// readiness.
    pub fn exceeded(&self) -> u64 {
        self.state.exceeded.load(Ordering::Relaxed)
    }

    /// Returns the number of calls that this layer ended, or would have ended without
    /// [`observe`](crate::DeadlineLayer::observe): on arrival, in readiness, or in the call or
    /// body.
    ///
    /// The number is `expired - served_late + exceeded`.
    pub fn rejected(&self) -> u64 {
        self.state.rejected.load(Ordering::Relaxed)
    }

    /// Returns the number of calls and bodies that are pending under the shared timers.
    ///
    /// A call that has not been pending yet has no timer. A call whose deadline is far out of order
    /// has a timer of its own. Neither is counted.
    pub fn in_flight(&self) -> usize {
        self.state.timers.pending()
    }

    /// Returns all numbers at once. Calls may run in between, so the numbers need not agree.
    pub fn snapshot(&self) -> DeadlineSnapshot {
        let state = &self.state;
        // Before `expired`, which is incremented first: so the part is rarely larger than the
        // whole.
        let served_late = state.served_late.load(Ordering::Relaxed);
        let (expired, exceeded) = (self.expired(), self.exceeded());
        DeadlineSnapshot {
            calls: self.calls(),
            expired,
            served_late,
            exceeded,
            rejected: self.rejected(),
            in_flight: self.in_flight(),
        }
    }
}

impl fmt::Debug for DeadlineHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeadlineHandle").field(&self.snapshot()).finish()
    }
}

/// The numbers of a [`DeadlineHandle`] at a moment. The getters of the handle define the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadlineSnapshot {
    /// [`DeadlineHandle::calls`].
    pub calls: u64,
    /// [`DeadlineHandle::expired`].
    pub expired: u64,
    /// [`DeadlineHandle::served_late`].
    pub served_late: u64,
    /// [`DeadlineHandle::exceeded`].
    pub exceeded: u64,
    /// [`DeadlineHandle::rejected`].
    pub rejected: u64,
    /// [`DeadlineHandle::in_flight`].
    pub in_flight: usize,
}
