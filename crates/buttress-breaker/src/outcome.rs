use std::time::Duration;

use buttress_control::CircuitOutcome;
use buttress_core::{Reason, RetryHint, Verdict};

/// What a verdict says to a circuit, or `None` if the call's time ran out.
pub(crate) const fn of_verdict(verdict: &Verdict) -> Option<CircuitOutcome> {
    match verdict {
        Verdict::Success | Verdict::Permanent => Some(CircuitOutcome::Success),
        Verdict::Throttled(hint) => Some(CircuitOutcome::Shed(delay(*hint))),
        Verdict::TimedOut
        | Verdict::Expired
        | Verdict::Rejected { reason: Reason::DeadlineExceeded, .. } => None,
        // A layer between this circuit and the service: the service is not to blame.
        Verdict::Rejected { reason, .. } if !matches!(reason, Reason::Panicked) => {
            Some(CircuitOutcome::Neutral)
        }
        _ => Some(CircuitOutcome::Failure),
    }
}

const fn delay(hint: Option<RetryHint>) -> Option<Duration> {
    match hint {
        Some(RetryHint::After(delay) | RetryHint::Exactly(delay)) => Some(delay),
        _ => None,
    }
}
