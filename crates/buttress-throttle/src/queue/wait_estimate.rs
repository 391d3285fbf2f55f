use std::time::Duration;

use buttress_control::Nanos;

/// The mean time between two grants, to estimate the wait for a permit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitEstimate {
    last: Option<Nanos>,
    mean: Option<u64>,
}

impl WaitEstimate {
    pub(crate) const fn new() -> Self {
        Self { last: None, mean: None }
    }

    /// Notes a grant to a waiter.
    pub(crate) fn note(&mut self, now: Nanos) {
        if let Some(last) = self.last {
            let gap = now.get().saturating_sub(last.get());
            self.mean = Some(self.mean.map_or(gap, |mean| mean - mean / WEIGHT + gap / WEIGHT));
        }
        self.last = Some(now);
    }

    /// The mean, after two grants.
    pub(crate) fn mean(&self) -> Option<Duration> {
        self.mean.map(Duration::from_nanos)
    }
}

/// A gap counts for an eighth, as a round-trip time does in TCP (RFC 6298, section 2).
const WEIGHT: u64 = 8;
