use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use buttress_core::{Deadline, Extent, Origin, Reason, Rejection, Signals, StateScope, Timers};

/// The options of a layer that are not part of its lanes.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) origin: Origin,
    pub(crate) extent: Extent,
    pub(crate) scope: StateScope,
    pub(crate) state: Arc<OrderState>,
}

/// The counters and timers that the services of a layer share, with the handles.
#[derive(Debug, Default)]
pub(crate) struct OrderState {
    pub(crate) calls: AtomicU64,
    pub(crate) superseded: AtomicU64,
    pub(crate) full: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) spare_refused: AtomicU64,
    /// The timers for the deadlines of waiting calls.
    pub(crate) timers: Timers,
}

/// Why a call ends without an outcome of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Superseded,
    /// The queue of the key is full.
    Full,
    /// A spare call would have to wait, or to supersede a call.
    Spare,
    /// The deadline passed before the call began.
    Expired(Deadline),
}

impl Settings {
    pub(crate) fn new() -> Self {
        Self {
            origin: Origin::new("order"),
            extent: Extent::UntilEnd,
            scope: StateScope::PerLayer,
            state: Arc::default(),
        }
    }

    /// Returns the settings for a further service, with counters of its own under `per_service`.
    pub(crate) fn for_service(self: &Arc<Self>) -> Arc<Self> {
        match self.scope {
            StateScope::PerLayer => Arc::clone(self),
            StateScope::PerService => Arc::new(Self { state: Arc::default(), ..Self::clone(self) }),
        }
    }

    /// Counts and reports the end of a call, once per call.
    #[cold]
    pub(crate) fn note(&self, end: End) {
        let instance = self.origin.name();
        let count = match end {
            End::Superseded => {
                tracing::debug!(name: "order.superseded", target: "buttress", instance);
                &self.state.superseded
            }
            End::Full => {
                tracing::debug!(name: "order.full", target: "buttress", instance);
                &self.state.full
            }
            End::Spare => {
                // At trace: the call that the spare one accompanies goes on.
                tracing::trace!(name: "order.spare_refused", target: "buttress", instance);
                &self.state.spare_refused
            }
            End::Expired(_) => {
                tracing::debug!(name: "order.expired", target: "buttress", instance);
                &self.state.expired
            }
        };
        // Relaxed, as all counters: a number that is reported orders no other memory.
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Reports a call that begins after a wait.
    #[cold]
    pub(crate) fn waited(&self) {
        let instance = self.origin.name();
        tracing::trace!(name: "order.waited", target: "buttress", instance);
    }

    /// The rejection for `end`. Raises the signal of a deadline, so call it in the poll that returns
    /// the rejection.
    #[cold]
    pub(crate) fn rejection(&self, end: End) -> Rejection {
        let reason = match end {
            End::Superseded => Reason::Superseded,
            End::Full | End::Spare => Reason::Overloaded,
            End::Expired(_) => Reason::DeadlineExceeded,
        };
        let rejection = Rejection::new(reason, self.origin.clone());
        match end {
            End::Expired(deadline) => {
                Signals::raise_deadline(deadline);
                rejection.enforcing(deadline)
            }
            End::Superseded | End::Full | End::Spare => rejection,
        }
    }

    /// Notes that a later call superseded a call, and returns the rejection.
    #[cold]
    pub(crate) fn supersede(&self) -> Rejection {
        self.note(End::Superseded);
        self.rejection(End::Superseded)
    }
}
