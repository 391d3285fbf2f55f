mod metrics;

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use buttress_core::Origin;

use crate::settings::{FallbackState, Settings};

/// Live numbers of a [`FallbackLayer`](crate::FallbackLayer), summed over the services that share
/// them.
#[derive(Clone)]
pub struct FallbackHandle {
    origin: Origin,
    state: Arc<FallbackState>,
}

impl FallbackHandle {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { origin: settings.origin.clone(), state: Arc::clone(&settings.state) }
    }

    /// Returns the number of calls.
    pub fn calls(&self) -> u64 {
        self.state.calls.load(Ordering::Relaxed)
    }

    /// Returns the number of calls that the fallback answered, or would have answered without
    /// [`observe`](crate::FallbackLayer::observe).
    pub fn answered(&self) -> u64 {
        self.state.answered.load(Ordering::Relaxed)
    }

    /// Returns the number of calls whose first outcome was returned, because the alternative
    /// service failed too, or could not get the request whole and in time.
    pub fn failed(&self) -> u64 {
        self.state.failed.load(Ordering::Relaxed)
    }

    /// Returns the number of calls whose first outcome was returned, because
    /// [`at_most`](crate::FallbackLayer::at_most) calls of the alternative service were running.
    pub fn full(&self) -> u64 {
        self.state.full.load(Ordering::Relaxed)
    }

    /// Returns the number of calls that wait for, or run on, the alternative service.
    pub fn in_flight(&self) -> u32 {
        self.state.running.load(Ordering::Relaxed)
    }

    /// Returns all numbers at once. Calls may run in between, so the numbers need not agree.
    pub fn snapshot(&self) -> FallbackSnapshot {
        // `calls` last: it is incremented first, so a part is rarely larger than the whole.
        let (answered, failed, full) = (self.answered(), self.failed(), self.full());
        FallbackSnapshot {
            calls: self.calls(),
            answered,
            failed,
            full,
            in_flight: self.in_flight(),
        }
    }
}

impl fmt::Debug for FallbackHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FallbackHandle").field(&self.snapshot()).finish()
    }
}

/// The numbers of a [`FallbackHandle`] at a moment. The getters of the handle define the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FallbackSnapshot {
    /// [`FallbackHandle::calls`].
    pub calls: u64,
    /// [`FallbackHandle::answered`].
    pub answered: u64,
    /// [`FallbackHandle::failed`].
    pub failed: u64,
    /// [`FallbackHandle::full`].
    pub full: u64,
    /// [`FallbackHandle::in_flight`].
    pub in_flight: u32,
}
