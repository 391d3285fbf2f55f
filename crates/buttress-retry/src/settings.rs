use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buttress_control::{Backoff, Random};
use buttress_core::{CallCount, Enforcement, LayerSettings, Origin, StateScope};

use crate::{
    Budget, StopCounts, StopReason,
    attempt_time::{AttemptTime, LateAttempts},
};

/// The options of a layer, and the state that its services share.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) origin: Origin,
    pub(crate) attempts: u32,
    pub(crate) backoff: Backoff,
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
            attempts,
            backoff: Backoff::default(),
            budget: Budget::default(),
            max_hint: Duration::from_secs(60),
            late_attempts: LateAttempts::Allowed,
            open_circuits: OpenCircuits::Stop,
            enforcement: Enforcement::Enforce,
            scope: StateScope::PerLayer,
            random: Arc::new(Random::seeded(fastrand::u64(..))),
            state: Arc::default(),
            is_budget_given: false,
        }
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
        Self { budget, state: Arc::default(), ..self.clone() }
    }
}

/// The answer to a rejection by an open circuit below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenCircuits {
    Stop,
    Wait,
}

/// The counters and the learned attempt time that services share.
///
/// Each counter stands for itself and orders no other memory, so all accesses are `Relaxed`.
#[derive(Debug, Default)]
pub(crate) struct RetryState {
    pub(crate) attempt_time: AttemptTime,
    pub(crate) calls: CallCount,
    pub(crate) retries: AtomicU64,
    stopped: [AtomicU64; StopReason::ALL.len()],
}

impl RetryState {
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
