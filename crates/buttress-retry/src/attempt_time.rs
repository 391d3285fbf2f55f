use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use buttress_core::Upload;
use tokio::time::Instant;

/// A running median of the duration of successful attempts.
///
/// Each sample moves the estimate by a sixteenth of the estimate towards the sample, so that an
/// outlier counts like any other sample. This is the “frugal” estimator of Ma, Muthukrishnan and
/// Sandler (2014), with a proportional step.
#[derive(Debug, Default)]
pub(crate) struct AttemptTime {
    nanos: AtomicU64,
}

impl AttemptTime {
    pub(crate) fn learn(&self, sample: Duration) {
        let sample = u64::try_from(sample.as_nanos()).unwrap_or(u64::MAX).max(1);
        let estimate = self.nanos.load(Ordering::Relaxed);
        let step = (estimate / 16).max(1);
        let next = match estimate {
            0 => sample,
            _ if sample > estimate => estimate.saturating_add(step).min(sample),
            _ => (estimate - step).max(sample),
        };
        // `Relaxed`, and no compare-exchange: of two concurrent samples, one may be lost. `usual`
        // reads an estimate, which orders no other memory.
        self.nanos.store(next, Ordering::Relaxed);
    }

    /// Returns the estimate. Zero until the first sample.
    pub(crate) fn usual(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}

/// Whether attempts that would end late are made or skipped. Skipping learns the usual time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LateAttempts {
    Allowed,
    Skipped,
}

/// The start of an attempt, if attempt times are learned.
#[derive(Debug, Default)]
pub(crate) enum Began {
    #[default]
    Unknown,
    At(Instant),
    /// The attempt sends a body that the caller is still producing.
    Sending(Upload),
}

impl Began {
    /// Returns the start of an attempt that begins now. `upload` watches the request's body.
    #[inline]
    pub(crate) fn now(
        late_attempts: LateAttempts,
        upload: impl FnOnce() -> Option<Upload>,
    ) -> Self {
        match late_attempts {
            LateAttempts::Allowed => Self::Unknown,
            LateAttempts::Skipped => {
                upload().map_or_else(|| Self::At(Instant::now()), Self::Sending)
            }
        }
    }

    /// Returns the time that the service has had, without the waits for the body. A further attempt
    /// has the whole body at hand.
    #[inline]
    pub(crate) fn took(&self) -> Option<Duration> {
        match self {
            Self::Unknown => None,
            Self::At(began) => Some(began.elapsed()),
            Self::Sending(upload) => upload.elapsed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upload_does_not_enlarge_began() {
        assert_eq!(size_of::<Began>(), size_of::<Option<Instant>>());
    }
}
