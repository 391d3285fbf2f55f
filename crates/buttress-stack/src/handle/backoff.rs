use std::time::Duration;

use buttress_control::Backoff;

use crate::config::BackoffConfig;

/// The bounds of `backoff` as settings.
pub(super) fn bounds(backoff: &Backoff) -> BackoffConfig {
    BackoffConfig {
        base: Some(backoff.base()),
        max: Some(backoff.cap()).filter(|cap| *cap < NO_CAP),
    }
}

/// `backoff` between these bounds.
pub(super) fn between(backoff: Backoff, bounds: &BackoffConfig) -> Backoff {
    let base = bounds.base.unwrap_or_else(|| backoff.base());
    backoff.between(base, bounds.max.unwrap_or(Duration::MAX))
}

/// What [`Backoff::cap`] returns if there is no cap.
const NO_CAP: Duration = Duration::from_nanos(u64::MAX);
