// Those of std also under loom: the counts decide nothing, and loom does not see that a `PerThread`
// publishes the copy that another thread made.
use std::sync::atomic::{AtomicU64, Ordering};

use buttress_core::Criticality;

/// Counts of calls by criticality.
#[derive(Debug)]
pub struct CountsByCriticality([AtomicU64; 4]);

impl CountsByCriticality {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    #[inline]
    pub(crate) fn add(&self, criticality: Criticality) {
        if let Some(count) = self.0.get(criticality.index()) {
            // Relaxed: the counts are statistics and order no other memory.
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn counts(&self) -> [u64; 4] {
        self.0.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    pub(crate) fn sum(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
        let mut sum = a;
        for (sum, count) in sum.iter_mut().zip(b) {
            *sum = sum.saturating_add(count);
        }
        sum
    }
}
