use std::time::Duration;

use crate::Nanos;
use crate::numbers::nanos::to_float;

/// The cells admitted lately: a count that decays with time.
#[derive(Clone, Copy, Debug)]
pub(super) struct AdmissionRate {
    count: f64,
    at: Nanos,
}

impl AdmissionRate {
    pub(super) const NONE: Self = Self { count: 0.0, at: Nanos::new(0) };

    /// Counts cells. A time before the last one counts as the last one.
    pub(super) fn add(&mut self, now: Nanos, cells: u32, average_over: Duration) {
        self.count = self.count_at(now, average_over) + f64::from(cells);
        self.at = self.at.max(now);
    }

    /// The number of cells that are admitted in this time, on average.
    pub(super) fn cells_in(&self, time: Duration, now: Nanos, average_over: Duration) -> f64 {
        self.count_at(now, average_over) * to_float(time) / to_float(average_over).max(1.0)
    }

    /// The count of a steady rate is the rate times `average_over`.
    fn count_at(&self, now: Nanos, average_over: Duration) -> f64 {
        let passed = Duration::from_nanos(now.get().saturating_sub(self.at.get()));
        self.count * (-to_float(passed) / to_float(average_over).max(1.0)).exp()
    }
}
