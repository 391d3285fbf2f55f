use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use buttress_control::{Backoff, Random};
use buttress_core::{CachePadded, CallCount, Enforcement, LayerSettings, Origin, StateScope};
use buttress_state::sync::{Mutex, lock};

use crate::{
    Budget, StopCounts, StopReason,
    attempt_time::{AttemptTime, LateAttempts},
};

/// The options of a layer, and the state that its services share.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) origin: Origin,
    pub(crate) budget: Budget,
    pub(crate) max_hint: Duration,
    pub(crate) late_attempts: LateAttempts,
    pub(crate) open_circuits: OpenCircuits,
    pub(crate) enforcement: Enforcement,
    pub(crate) scope: StateScope,
    /// Shared by all services, also under `per_service`: with a generator per service, a seed would
    /// give all services the same delays at the same time.
    pub(crate) random: Arc<Random>,
    pub(crate) state: Arc<RetryState>,
    /// Whether `budget` was given, to be shared by all services.
    is_budget_given: bool,
}

impl Settings {
    pub(crate) fn new(attempts: u32) -> Self {
        Self {
            origin: Origin::new("retry"),
            budget: Budget::default(),
            max_hint: Duration::from_secs(60),
            late_attempts: LateAttempts::Allowed,
            open_circuits: OpenCircuits::Stop,
            enforcement: Enforcement::Enforce,
            scope: StateScope::PerLayer,
            random: Arc::new(Random::seeded(fastrand::u64(..))),
            state: Arc::new(RetryState::new(attempts, Backoff::default())),
            is_budget_given: false,
        }
    }

    /// Sets the backoff of fresh state. Clones made before keep theirs.
    pub(crate) fn set_backoff(&mut self, backoff: Backoff) {
        self.state = Arc::new(RetryState::new(self.state.attempts(), backoff));
    }

    pub(crate) fn share_budget(&mut self, budget: Budget) {
        (self.budget, self.is_budget_given) = (budget, true);
    }
}

impl LayerSettings for Settings {
    fn scope(&self) -> StateScope {
        self.scope
    }

    fn calls(&self) -> &CallCount {
        &self.state.calls
    }

    /// A budget that was given stays shared.
    fn with_fresh_state(&self) -> Self {
        let budget = if self.is_budget_given { self.budget.clone() } else { Budget::default() };
        let state = Arc::new(RetryState::new(self.state.attempts(), self.state.backoff()));
        Self { budget, state, ..self.clone() }
    }
}

/// The answer to a rejection by an open circuit below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenCircuits {
    Stop,
    Wait,
}

/// The settings that handles change, the counters, and the learned attempt time that services share.
///
/// Each number stands for itself and orders no other memory, so all accesses are `Relaxed`.
#[derive(Debug)]
pub(crate) struct RetryState {
    /// At least 1. Padded, because every call reads the number.
    attempts: CachePadded<AtomicU32>,
    /// Locked by calls that failed, and by handles.
    backoff: Mutex<Backoff>,
    pub(crate) attempt_time: AttemptTime,
    pub(crate) calls: CallCount,
    pub(crate) retries: AtomicU64,
    stopped: [AtomicU64; StopReason::ALL.len()],
}

impl RetryState {
    fn new(attempts: u32, backoff: Backoff) -> Self {
        Self {
            attempts: CachePadded::new(AtomicU32::new(attempts.max(1))),
            backoff: Mutex::new(backoff),
            attempt_time: AttemptTime::default(),
            calls: CallCount::default(),
            retries: AtomicU64::new(0),
            stopped: Default::default(),
        }
    }

    #[inline]
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }

    pub(crate) fn set_attempts(&self, attempts: u32) {
        self.attempts.store(attempts.max(1), Ordering::Relaxed);
    }

    pub(crate) fn backoff(&self) -> Backoff {
        *lock(&self.backoff)
    }

    pub(crate) fn set_backoff(&self, backoff: Backoff) {
        *lock(&self.backoff) = backoff;
    }

    pub(crate) fn note_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_stop(&self, reason: StopReason) {
        if let Some(count) = self.stopped.get(reason.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn stopped(&self) -> StopCounts {
        StopReason::ALL
            .iter()
            .zip(&self.stopped)
            .map(|(reason, count)| (*reason, count.load(Ordering::Relaxed)))
            .collect()
    }
}
