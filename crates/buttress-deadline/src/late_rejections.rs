use std::time::Duration;

use buttress_control::{Nanos, Ratio, RetryBudget};
use tokio::time::Instant;

/// Bounds the share of calls that are rejected because they arrive after their deadline.
///
/// Each call in time deposits into a budget over 10 s, and each rejection withdraws from the
/// budget. This is the law of Finagle's `DeadlineFilter`.
#[derive(Debug)]
pub(crate) struct LateRejections {
    ratio: Ratio,
    budget: RetryBudget,
    epoch: Instant,
}

impl LateRejections {
    pub(crate) fn new(ratio: Ratio) -> Self {
        Self { ratio, budget: RetryBudget::new(WINDOW, 0, ratio), epoch: Instant::now() }
    }

    /// Returns the same bound for the calls of another service.
    pub(crate) fn fresh(&self) -> Self {
        Self::new(self.ratio)
    }

    /// Notes a call that arrived in time.
    pub(crate) fn note_on_time(&self) {
        self.budget.deposit(self.now());
    }

    /// Returns whether a further late call may be rejected, and counts the rejection.
    pub(crate) fn try_reject(&self) -> bool {
        self.budget.withdraw(self.now(), 1)
    }

    fn now(&self) -> Nanos {
        Nanos::from(Instant::now().saturating_duration_since(self.epoch))
    }
}

const WINDOW: Duration = Duration::from_secs(10);
