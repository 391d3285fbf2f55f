use std::time::Duration;

/// What a call meets in a [`Weather`](crate::Weather).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// The upstream answers after this latency.
    Clear(Duration),
    /// The call fails after this latency.
    Fault(Duration),
    /// The call never gets a response.
    Hang,
    /// The upstream refuses the call after a latency, with a hint.
    #[non_exhaustive]
    Throttled {
        /// The hint: the time until the call should be repeated.
        retry_after: Duration,
        /// The time until the refusal.
        latency: Duration,
    },
}

impl Condition {
    /// Returns the time until the outcome of the call, or `None` if there is none.
    pub const fn latency(self) -> Option<Duration> {
        match self {
            Self::Clear(latency) | Self::Fault(latency) | Self::Throttled { latency, .. } => {
                Some(latency)
            }
            Self::Hang => None,
        }
    }

    /// Returns whether the upstream answers the call.
    pub const fn is_clear(self) -> bool {
        matches!(self, Self::Clear(_))
    }
}
