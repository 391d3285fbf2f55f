use std::time::Duration;

use buttress_control::Backoff;
use buttress_core::Deadline;

use crate::config::BackoffConfig;

/// The bounds of `backoff` as settings. A cap of thirty years or more is none.
pub(super) fn bounds(backoff: &Backoff) -> BackoffConfig {
    BackoffConfig {
        base: Some(backoff.base()),
        max: Some(backoff.cap()).filter(|cap| *cap < Deadline::NEVER),
    }
}

/// `backoff` between these bounds.
pub(super) fn between(backoff: Backoff, bounds: &BackoffConfig) -> Backoff {
    let base = bounds.base.unwrap_or_else(|| backoff.base());
    backoff.between(base, bounds.max.unwrap_or(Duration::MAX))
}
