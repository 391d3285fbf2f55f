use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use buttress_control::{Backoff, Random};
use buttress_core::Origin;

use crate::{
    Budget, StopReason,
    attempt_time::{AttemptTime, LateAttempts},
};

/// What a layer was told, and the state its services share.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) origin: Origin,
    pub(crate) attempts: u32,
    pub(crate) backoff: Backoff,
    pub(crate) budget: Budget,
    pub(crate) max_hint: Duration,
    pub(crate) late_attempts: LateAttempts,
    pub(crate) state: Arc<RetryState>,
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
            state: Arc::new(RetryState::seeded(fastrand::u64(..))),
        }
    }
}

#[derive(Debug)]
pub(crate) struct RetryState {
    pub(crate) attempt_time: AttemptTime,
    pub(crate) retries: AtomicU64,
    stops: [AtomicU64; StopReason::ALL.len()],
    pub(crate) random: Random,
}

impl RetryState {
    fn seeded(seed: u64) -> Self {
        Self {
            attempt_time: AttemptTime::default(),
            retries: AtomicU64::new(0),
            stops: Default::default(),
            random: Random::seeded(seed),
        }
    }

    pub(crate) fn stopped(&self, why: StopReason) -> Option<&AtomicU64> {
        let place = StopReason::ALL.iter().position(|stop| *stop == why)?;
        self.stops.get(place)
    }
}
