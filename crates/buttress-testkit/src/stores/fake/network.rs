use std::{collections::VecDeque, time::Duration};

use buttress_state::{StoreError, StoreErrorKind, StoreSnapshot};

/// How a [`FakeStore`](super::FakeStore) is out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outage {
    /// The connection is refused: operations fail at once with
    /// [`Unavailable`](StoreErrorKind::Unavailable).
    Refused,
    /// The connection is silent: no request arrives, and operations fail with
    /// [`Timeout`](StoreErrorKind::Timeout) after the time limit.
    Silent,
}

/// What happens to the messages between the callers and a store.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) outage: Option<Outage>,
    /// The time from a request to its reply. The request arrives after half of it.
    pub(super) delay: Duration,
    pub(super) time_limit: Duration,
    /// What happens to the next operations.
    pub(super) planned: VecDeque<Fault>,
    pub(super) numbers: StoreSnapshot,
}

#[derive(Clone, Debug)]
pub(super) enum Fault {
    LostRequest,
    LostReply,
    Fails(StoreError),
}

/// How an operation runs.
pub(super) enum Route {
    /// Fails after this time.
    Fails(Duration, StoreError),
    /// The request arrives after the first time. The reply arrives after the second, or fails then.
    Arrives(Duration, Duration, Result<(), StoreError>),
}

impl Network {
    pub(super) fn new() -> Self {
        let mut numbers = StoreSnapshot::default();
        (numbers.connections, numbers.is_connected) = (1, true);
        Self {
            outage: None,
            delay: Duration::ZERO,
            time_limit: Duration::from_millis(25),
            planned: VecDeque::new(),
            numbers,
        }
    }

    /// Begins an operation.
    pub(super) fn route(&mut self) -> Route {
        self.numbers.operations += 1;
        let limit = self.time_limit;
        match (self.outage, self.planned.pop_front()) {
            (Some(Outage::Refused), _) => Route::Fails(Duration::ZERO, UNAVAILABLE),
            (Some(Outage::Silent), _) | (None, Some(Fault::LostRequest)) => {
                Route::Fails(limit, TIMEOUT)
            }
            (None, Some(Fault::Fails(error))) => Route::Fails(self.delay.min(limit), error),
            (None, Some(Fault::LostReply)) => {
                let there = (self.delay / 2).min(limit);
                Route::Arrives(there, limit.saturating_sub(there), Err(TIMEOUT))
            }
            (None, None) => self.undisturbed(),
        }
    }

    fn undisturbed(&self) -> Route {
        let there = self.delay / 2;
        if there >= self.time_limit {
            Route::Fails(self.time_limit, TIMEOUT)
        } else if self.delay > self.time_limit {
            Route::Arrives(there, self.time_limit.saturating_sub(there), Err(TIMEOUT))
        } else {
            Route::Arrives(there, self.delay.saturating_sub(there), Ok(()))
        }
    }

    pub(super) fn count(&mut self, error: &StoreError) {
        let count = match error.kind() {
            StoreErrorKind::Timeout => &mut self.numbers.timeouts,
            StoreErrorKind::Unavailable => &mut self.numbers.unavailable,
            StoreErrorKind::Rejected => &mut self.numbers.rejected,
            _ => &mut self.numbers.corrupt,
        };
        *count += 1;
    }
}

const TIMEOUT: StoreError = StoreError::new(StoreErrorKind::Timeout);
const UNAVAILABLE: StoreError = StoreError::new(StoreErrorKind::Unavailable);
