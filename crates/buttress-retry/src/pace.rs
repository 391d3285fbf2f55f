use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// How long a successful attempt usually takes: a running median.
///
/// Each sample moves the estimate by a sixteenth towards itself, whatever its size, so that outliers
/// count no more than others (the "frugal" estimator of Ma, Muthukrishnan and Sandler, 2014, with a
/// step in proportion).
#[derive(Debug, Default)]
pub(crate) struct Pace {
    nanos: AtomicU64,
}

impl Pace {
    pub(crate) fn learn(&self, sample: Duration) {
        let sample = u64::try_from(sample.as_nanos()).unwrap_or(u64::MAX).max(1);
        let estimate = self.nanos.load(Ordering::Relaxed);
        let step = (estimate / 16).max(1);
        let next = match estimate {
            0 => sample,
            _ if sample > estimate => estimate.saturating_add(step).min(sample),
            _ => (estimate - step).max(sample),
        };
        // Two samples at once may count as one.
        self.nanos.store(next, Ordering::Relaxed);
    }

    /// Zero until something was learned.
    pub(crate) fn usual(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}
