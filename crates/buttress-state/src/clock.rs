use std::time::Duration;

use buttress_control::Nanos;
use buttress_core::Deadline;
use tokio::time::Instant;

/// The clock of a control law: tokio's time, counted from the creation of the clock.
#[derive(Clone, Copy, Debug)]
pub struct LimitClock(Instant);

impl LimitClock {
    /// Starts the clock now.
    #[inline]
    #[expect(clippy::new_without_default, reason = "each clock starts at another time")]
    pub fn new() -> Self {
        Self(Instant::now())
    }

    /// Returns the time since the start of the clock.
    #[inline]
    pub fn now(self) -> Nanos {
        self.at(Instant::now())
    }

    /// Converts an instant to the time of a law. An instant before the start is time zero.
    #[inline]
    pub fn at(self, instant: Instant) -> Nanos {
        // Under loom the clock stands still, because each run must take the same steps.
        let since = if cfg!(buttress_loom) { self.0 } else { instant };
        Nanos::from(since.saturating_duration_since(self.0))
    }

    /// Converts the time of a law to a deadline.
    #[inline]
    pub fn deadline(self, at: Nanos) -> Deadline {
        Deadline::from_start(self.0, Duration::from_nanos(at.get()))
    }
}
