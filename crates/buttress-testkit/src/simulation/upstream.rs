use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// The calls that reached an upstream, by their instants. Clones share the count.
///
/// A [`WeatherLayer`](crate::WeatherLayer) counts its calls. An upstream of your own can
/// [`record`](Self::record) them. [`Load::upstream`](crate::Load::upstream) compares them with the
/// calls that were offered.
#[derive(Clone, Default)]
pub struct Upstream(Arc<Mutex<Vec<Instant>>>);

impl Upstream {
    /// Creates a count of zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a call that arrives now.
    pub fn record(&self) {
        self.lock().push(Instant::now());
    }

    /// Returns the number of calls so far.
    pub fn calls(&self) -> usize {
        self.lock().len()
    }

    /// Returns the calls since `start`.
    pub(super) fn since(&self, start: Instant) -> Vec<Instant> {
        self.lock().iter().copied().filter(|call| *call >= start).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("calls", &self.calls()).finish()
    }
}
