use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buttress_control::Ratio;
use buttress_core::{
    CallCount, Deadline, Enforcement, Extent, LayerSettings, Origin, Reason, Rejection, Signals,
    StateScope, Timers,
};
use tokio::time::Instant;

use crate::{late_rejections::LateRejections, live_timeout::LiveTimeout};

/// The options of a layer, and the state that its services share.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) origin: Origin,
    pub(crate) extent: Extent,
    pub(crate) enforcement: Enforcement,
    pub(crate) scope: StateScope,
    pub(crate) state: Arc<DeadlineState>,
    late_rejections: Option<Arc<LateRejections>>,
}

impl Settings {
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        Self {
            origin: Origin::new("deadline"),
            extent: Extent::UntilEnd,
            enforcement: Enforcement::Enforce,
            scope: StateScope::PerLayer,
            state: Arc::new(DeadlineState::new(timeout)),
            late_rejections: None,
        }
    }

    /// Returns the layer's own deadline for a call that begins now, and the time now if the clock
    /// was read.
    #[inline]
    pub(crate) fn own_deadline(&self) -> (Option<Deadline>, Option<Instant>) {
        let Some(timeout) = self.state.timeout.get() else { return (None, None) };
        let now = Instant::now();
        (Some(Deadline::from_start(now, timeout)), Some(now))
    }

    /// Whether the deadline of a call is the ambient deadline inside until the body has ended.
    #[inline]
    pub(crate) fn is_ambient(&self) -> bool {
        self.extent == Extent::UntilEnd && self.enforcement == Enforcement::Enforce
    }

    /// Returns the rejection of a call, and raises its deadline for the layers outside.
    pub(crate) fn rejection(&self, deadline: Option<Deadline>) -> Rejection {
        let rejection = Rejection::new(Reason::DeadlineExceeded, self.origin.clone());
        // Must run in the poll that returns the rejection: `Signals::watch` of a layer outside sees
        // the signals of that poll only.
        let deadline = deadline.inspect(|deadline| Signals::raise_deadline(*deadline));
        deadline.into_iter().fold(rejection, Rejection::enforcing)
    }

    pub(crate) fn max_reject_ratio(&mut self, ratio: Ratio) {
        self.late_rejections = Some(Arc::new(LateRejections::new(ratio)));
    }

    /// Notes a call that arrived in time.
    #[inline]
    pub(crate) fn note_on_time(&self) {
        if let Some(late_rejections) = &self.late_rejections {
            late_rejections.note_on_time();
        }
    }

    /// Counts and reports a call that arrived too late, and decides whether the call is rejected.
    #[cold]
    pub(crate) fn reject_late(&self) -> LateCall {
        self.state.expired.fetch_add(1, Ordering::Relaxed);
        // In observe mode too, `try_reject` withdraws from the budget. The counts are then those of
        // a layer that enforces.
        let late_call = if self.late_rejections.as_ref().is_some_and(|late| !late.try_reject()) {
            self.state.served_late.fetch_add(1, Ordering::Relaxed);
            LateCall::Served
        } else {
            self.state.rejected.fetch_add(1, Ordering::Relaxed);
            match self.enforcement {
                Enforcement::Enforce => LateCall::Rejected,
                Enforcement::Observe => LateCall::Observed,
            }
        };
        let (instance, served) = (self.origin.name(), late_call != LateCall::Rejected);
        tracing::debug!(name: "deadline.expired", target: "buttress", instance, served);
        late_call
    }

    /// Counts and reports a call whose deadline passed in this `phase`.
    #[cold]
    pub(crate) fn exceeded(&self, phase: &'static str) -> Enforcement {
        self.state.exceeded.fetch_add(1, Ordering::Relaxed);
        self.state.rejected.fetch_add(1, Ordering::Relaxed);
        let (instance, observed) = (self.origin.name(), self.enforcement == Enforcement::Observe);
        tracing::debug!(name: "deadline.exceeded", target: "buttress", instance, phase, observed);
        self.enforcement
    }
}

impl LayerSettings for Settings {
    fn scope(&self) -> StateScope {
        self.scope
    }

    fn calls(&self) -> &CallCount {
        &self.state.calls
    }

    fn with_fresh_state(&self) -> Self {
        let late_rejections = self.late_rejections.as_ref().map(|late| Arc::new(late.fresh()));
        let state = Arc::new(DeadlineState::new(self.state.timeout.get()));
        Self { state, late_rejections, ..self.clone() }
    }
}

/// The decision on a call that arrived after its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LateCall {
    /// The layer rejects the call.
    Rejected,
    /// The call is served, because the layer has rejected as many late calls as it may.
    Served,
    /// The layer would have rejected the call, but only observes.
    Observed,
}

/// The timeout, counters and timers that services share.
///
/// Each counter stands for itself and orders no other memory, so all accesses are `Relaxed`.
#[derive(Debug)]
pub(crate) struct DeadlineState {
    pub(crate) timeout: LiveTimeout,
    pub(crate) timers: Timers,
    pub(crate) calls: CallCount,
    pub(crate) expired: AtomicU64,
    /// A part of `expired`.
    pub(crate) served_late: AtomicU64,
    pub(crate) exceeded: AtomicU64,
    /// `expired - served_late + exceeded`, counted on its own. Computed from the others while calls
    /// run, the number could fall.
    pub(crate) rejected: AtomicU64,
}

impl DeadlineState {
    fn new(timeout: Option<Duration>) -> Self {
        Self {
            timeout: LiveTimeout::new(timeout),
            timers: Timers::default(),
            calls: CallCount::default(),
            expired: AtomicU64::new(0),
            served_late: AtomicU64::new(0),
            exceeded: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
        }
    }
}
