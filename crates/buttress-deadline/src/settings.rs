use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buttress_core::{Deadline, Origin, Reason, Rejection};
use tokio::time::Instant;

use crate::timers::Timers;

/// What a layer was told, and the state its services share.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) origin: Origin,
    pub(crate) extent: Extent,
    pub(crate) enforcement: Enforcement,
    pub(crate) state: Arc<State>,
    timeout: Option<Duration>,
}

impl Settings {
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        Self {
            origin: Origin::new("deadline"),
            extent: Extent::Body,
            enforcement: Enforcement::Reject,
            state: Arc::default(),
            timeout: timeout.filter(|timeout| *timeout < Deadline::NEVER),
        }
    }

    /// The layer's own deadline for a call that begins now.
    #[inline]
    pub(crate) fn own(&self) -> Option<Deadline> {
        self.timeout.map(|timeout| Deadline::from_start(Instant::now(), timeout))
    }

    pub(crate) fn rejection(&self, deadline: Deadline) -> Rejection {
        Rejection::new(Reason::DeadlineExceeded, self.origin.clone()).enforcing(deadline)
    }

    /// Counts and reports a call that arrived too late.
    pub(crate) fn expired(&self) -> Enforcement {
        self.state.expired.fetch_add(1, Ordering::Relaxed);
        let (instance, observed) = (self.origin.name(), self.enforcement == Enforcement::Observe);
        tracing::debug!(name: "deadline.expired", target: "buttress", instance, observed);
        self.enforcement
    }

    /// Counts and reports a call whose deadline passed while it was in `phase`.
    pub(crate) fn exceeded(&self, phase: &'static str) -> Enforcement {
        self.state.exceeded.fetch_add(1, Ordering::Relaxed);
        let (instance, observed) = (self.origin.name(), self.enforcement == Enforcement::Observe);
        tracing::debug!(name: "deadline.exceeded", target: "buttress", instance, phase, observed);
        self.enforcement
    }
}

/// How far into a response the deadline reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Head,
    Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enforcement {
    Reject,
    Observe,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) timers: Timers,
    pub(crate) expired: AtomicU64,
    pub(crate) exceeded: AtomicU64,
}
