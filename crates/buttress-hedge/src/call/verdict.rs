use buttress_core::{Reason, Verdict};

/// Whether a try with this verdict wins: the outcome is the service's own answer.
pub(super) const fn is_win(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Success | Verdict::Permanent)
}

/// Whether a try that fails like this makes the next hedge under `after_failures`.
pub(super) const fn may_repeat(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Transient | Verdict::TimedOut | Verdict::NeverProcessed)
}

/// Whether a layer below refused a hedge, so that the service has not seen it.
pub(super) const fn is_refused(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Rejected { reason, .. } => {
            !matches!(reason, Reason::DeadlineExceeded | Reason::Panicked)
        }
        _ => false,
    }
}
