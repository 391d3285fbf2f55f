use std::fmt;

/// Why a failed call was not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[doc(alias("give up"))]
pub enum StopReason {
    /// The verdict was permanent, or the service itself had run out of time.
    NotRetryable,
    /// This was the last attempt.
    AttemptsUsed,
    /// The request cannot be sent again whole.
    NotReplayable,
    /// The service may have acted on the request, and doing so twice may do harm.
    NotIdempotent,
    /// The budget had no token.
    BudgetEmpty,
    /// The call's deadline passes before the next attempt could begin, or has passed.
    Deadline,
    /// The next attempt would take longer than is left, going by those that succeeded.
    CannotFinish,
    /// The server said not to.
    Pushback,
    /// The call was told to wait for longer than its deadline allows, or
    /// [`max_hint`](crate::RetryLayer::max_hint) where there is none.
    PushbackExceedsDeadline,
    /// A layer below rejected the call, and did not say when it would admit it; or it rejected the call
    /// again when that time had come.
    Rejected,
    /// A retry further in gave up.
    GaveUpBelow,
}

impl StopReason {
    /// Every reason.
    pub const ALL: &'static [Self] = &[
        Self::NotRetryable,
        Self::AttemptsUsed,
        Self::NotReplayable,
        Self::NotIdempotent,
        Self::BudgetEmpty,
        Self::Deadline,
        Self::CannotFinish,
        Self::Pushback,
        Self::PushbackExceedsDeadline,
        Self::Rejected,
        Self::GaveUpBelow,
    ];

    /// The reason in `snake_case`, as it stands in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotRetryable => "not_retryable",
            Self::AttemptsUsed => "attempts_used",
            Self::NotReplayable => "not_replayable",
            Self::NotIdempotent => "not_idempotent",
            Self::BudgetEmpty => "budget_empty",
            Self::Deadline => "deadline",
            Self::CannotFinish => "cannot_finish",
            Self::Pushback => "pushback",
            Self::PushbackExceedsDeadline => "pushback_exceeds_deadline",
            Self::Rejected => "rejected",
            Self::GaveUpBelow => "gave_up_below",
        }
    }

    /// Whether an outer retry would only repeat what was tried here. `has_tried` says whether an attempt
    /// was repeated.
    pub(crate) const fn is_giving_up(self, has_tried: bool) -> bool {
        match self {
            Self::NotRetryable | Self::NotReplayable | Self::NotIdempotent | Self::Rejected => {
                false
            }
            // The time left here may be that of one attempt of the outer retry.
            Self::Deadline | Self::CannotFinish | Self::PushbackExceedsDeadline => has_tried,
            Self::AttemptsUsed | Self::BudgetEmpty | Self::Pushback | Self::GaveUpBelow => true,
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
