use std::fmt;

/// The reason why a failed call was not repeated.
///
/// The [crate docs](crate#why-a-call-stops) list the questions in the order in which the retry asks. One
/// reason can answer several of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[doc(alias("give up"))]
pub enum StopReason {
    /// The verdict was permanent or unknown, or the service itself had run out of time.
    NotRetryable,
    /// A layer below rejected the call without saying when it would admit the call, or rejected the
    /// call again at that time. Or the circuit of that layer is open, and the retry does not
    /// [wait](crate::RetryLayer::wait_for_circuit) for it.
    Rejected,
    /// An inner retry gave up.
    GaveUpBelow,
    /// The server asked for no further attempt.
    Pushback,
    /// This was the last attempt.
    AttemptsUsed,
    /// The request cannot be sent again whole.
    NotReplayable,
    /// The service may have acted on the request, and acting twice may do harm.
    NotIdempotent,
    /// The hint asked for a longer wait than the deadline allows, or than
    /// [`max_hint`](crate::RetryLayer::max_hint) allows if there is no deadline.
    PushbackExceedsDeadline,
    /// The call's deadline has passed, or passes before the next attempt could begin.
    Deadline,
    /// The next attempt would end at the deadline or later, judging by successful attempts.
    CannotFinish,
    /// The budget could not pay for the next attempt.
    BudgetEmpty,
    /// The service was not ready for the next attempt within 60 s, and the call has no deadline.
    NotReady,
}

impl StopReason {
    /// Every reason, in the order of their definition.
    pub const ALL: &'static [Self] = &[
        Self::NotRetryable,
        Self::Rejected,
        Self::GaveUpBelow,
        Self::Pushback,
        Self::AttemptsUsed,
        Self::NotReplayable,
        Self::NotIdempotent,
        Self::PushbackExceedsDeadline,
        Self::Deadline,
        Self::CannotFinish,
        Self::BudgetEmpty,
        Self::NotReady,
    ];

    /// Returns the reason in `snake_case`, as in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotRetryable => "not_retryable",
            Self::Rejected => "rejected",
            Self::GaveUpBelow => "gave_up_below",
            Self::Pushback => "pushback",
            Self::AttemptsUsed => "attempts_used",
            Self::NotReplayable => "not_replayable",
            Self::NotIdempotent => "not_idempotent",
            Self::PushbackExceedsDeadline => "pushback_exceeds_deadline",
            Self::Deadline => "deadline",
            Self::CannotFinish => "cannot_finish",
            Self::BudgetEmpty => "budget_empty",
            Self::NotReady => "not_ready",
        }
    }

    /// Returns the place in [`ALL`](Self::ALL), which lists the variants in the order of their
    /// definition.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// Whether an outer retry would only repeat the attempts made here. `has_tried` says whether
    /// there was more than one attempt.
    pub(crate) const fn is_giving_up(self, has_tried: bool) -> bool {
        match self {
            Self::NotRetryable | Self::NotReplayable | Self::NotIdempotent | Self::Rejected => {
                false
            }
            // The deadline here may be that of a single attempt of the outer retry.
            Self::Deadline | Self::CannotFinish | Self::PushbackExceedsDeadline => has_tried,
            Self::AttemptsUsed
            | Self::BudgetEmpty
            | Self::NotReady
            | Self::Pushback
            | Self::GaveUpBelow => true,
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_each_reason_at_its_index() {
        assert!(StopReason::ALL.iter().enumerate().all(|(index, reason)| reason.index() == index));
        assert_eq!(StopReason::ALL.len(), StopReason::NotReady.index() + 1);
    }
}
