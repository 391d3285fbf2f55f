use std::time::Duration;

/// A duration in nanoseconds.
pub(super) fn as_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
