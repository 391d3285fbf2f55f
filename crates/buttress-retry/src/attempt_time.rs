use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use buttress_core::Upload;
use tokio::time::Instant;

/// How long a successful attempt usually takes: a running median.
///
/// Each sample moves the estimate by a sixteenth towards itself, whatever its size, so that outliers
/// count no more than others (the "frugal" estimator of Ma, Muthukrishnan and Sandler, 2014, with a
/// step in proportion).
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
        // Two samples at once may count as one.
        self.nanos.store(next, Ordering::Relaxed);
    }

    /// Zero until something was learned.
    pub(crate) fn usual(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}

/// Whether the usual time of an attempt is learned, and attempts that cannot finish are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LateAttempts {
    Allowed,
    Skipped,
}

/// When an attempt began, if that is of interest.
#[derive(Debug, Default)]
pub(crate) enum Began {
    #[default]
    Unknown,
    At(Instant),
    /// With a body that its caller is still sending.
    Sending(Upload),
}

impl Began {
    /// An attempt begins, with what watches its body.
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

    /// How long the service has had. A repetition sends at once what the first attempt waited for.
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
    fn an_upload_makes_no_call_larger() {
        assert_eq!(size_of::<Began>(), size_of::<Option<Instant>>());
    }
}
