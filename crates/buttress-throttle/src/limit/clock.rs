use std::time::Duration;

use buttress_control::Nanos;
use buttress_core::Deadline;
use tokio::time::Instant;

/// The moment a limit was made, from which its laws count the time.
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

    /// What `instant` is to a law.
    #[inline]
    pub(crate) fn at(self, instant: Instant) -> Nanos {
        // Under loom time stands still, because each run must take the same steps.
        let since = if cfg!(buttress_loom) { self.0 } else { instant };
        Nanos::from(since.saturating_duration_since(self.0))
    }

    /// What a law's time is to everybody else.
    pub(crate) fn deadline(self, at: Nanos) -> Deadline {
        Deadline::from_start(self.0, Duration::from_nanos(at.get()))
    }
}
