use std::time::Duration;

use tokio::time::Instant;

/// The clock of a store: tokio's clock, with steps.
#[derive(Debug)]
pub(super) struct StoreClock {
    start: Instant,
    /// Nanoseconds that all steps add to the time since the start.
    steps: i128,
}

impl StoreClock {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), steps: 0 }
    }

    /// The nanoseconds since an epoch of its own.
    pub(super) fn now(&self) -> u128 {
        let passed = i128::try_from(self.start.elapsed().as_nanos()).unwrap_or(i128::MAX);
        let now = passed.saturating_add(self.steps).saturating_add(EPOCH);
        u128::try_from(now).unwrap_or(0)
    }

    pub(super) fn step_forward(&mut self, by: Duration) {
        self.steps = self.steps.saturating_add(nanos(by));
    }

    pub(super) fn step_back(&mut self, by: Duration) {
        self.steps = self.steps.saturating_sub(nanos(by));
    }
}

fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

/// Far from zero, so that a clock can step back.
const EPOCH: i128 = 1 << 100;
