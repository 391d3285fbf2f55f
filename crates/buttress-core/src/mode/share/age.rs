use std::time::Duration;

use tokio::time::Instant;

/// The age of a cached response. The clock is read only by [`by_now`](Self::by_now).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    before: Duration,
    made: Instant,
}

impl Age {
    /// Creates the age of a response that arrived at `made` and was `before` old then.
    pub const fn new(before: Duration, made: Instant) -> Self {
        Self { before, made }
    }

    /// Returns the age now.
    pub fn by_now(&self) -> Duration {
        self.before.saturating_add(self.made.elapsed())
    }
}
