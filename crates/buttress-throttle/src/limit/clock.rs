use std::time::Duration;

use buttress_control::Nanos;
use buttress_core::Deadline;
use tokio::time::Instant;

/// The time of a limit, counted from its creation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LimitClock(Instant);

impl LimitClock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    #[inline]
    pub(crate) fn now(self) -> Nanos {
        self.at(Instant::now())
    }

    /// Converts an instant to the time of a law.
    #[inline]
    pub(crate) fn at(self, instant: Instant) -> Nanos {
        // Under loom the clock stands still, because each run must take the same steps.
        let since = if cfg!(buttress_loom) { self.0 } else { instant };
        Nanos::from(since.saturating_duration_since(self.0))
    }

    /// Converts the time of a law to a deadline.
    pub(crate) fn deadline(self, at: Nanos) -> Deadline {
        Deadline::from_start(self.0, Duration::from_nanos(at.get()))
    }
}
