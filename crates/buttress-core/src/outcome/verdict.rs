use std::time::Duration;

use crate::{Deadline, Reason, Rejection};

/// What an outcome means. Every layer reads the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The call did what it should.
    Success,
    /// The service failed, and another attempt may succeed.
    Transient,
    /// The service gave no answer within an attempt's time. Another attempt may succeed, but the
    /// service may have acted on this one.
    TimedOut,
    /// The service asks for less load, and may say how long.
    Throttled(Option<RetryHint>),
    /// The call failed, and would fail again.
    Permanent,
    /// The service itself ran out of the time it was given: too much load, perhaps, but another attempt
    /// would have no more of it.
    Expired,
    /// The service provably never began to work on the call, so that it may be sent again whatever
    /// it asks for.
    NeverProcessed,
    /// A layer below rejected the call. The service is not to blame.
    #[non_exhaustive]
    Rejected {
        /// The layer's pattern.
        by: &'static str,
        /// Why.
        reason: Reason,
        /// How long to wait before a call may be admitted, if that is known.
        retry_after: Option<Duration>,
    },
}

impl Verdict {
    /// What a rejection found in an outcome means to the layer that reads it now.
    ///
    /// A deadline that passed below while the reader's own ambient deadline has time left is an
    /// attempt's timeout, a failure of the service: [`TimedOut`](Self::TimedOut). Any other is a
    /// verdict of the layer that made it.
    pub fn from_rejection(rejection: &Rejection) -> Self {
        if rejection.reason() == Reason::DeadlineExceeded && has_time_left(rejection.deadline()) {
            return Self::TimedOut;
        }
        Self::rejected(rejection.origin().layer(), rejection.reason(), rejection.retry_after())
    }

    /// Returns the verdict on a call that the layer with the pattern `by` rejected for `reason`.
    #[inline]
    pub const fn rejected(by: &'static str, reason: Reason, retry_after: Option<Duration>) -> Self {
        Self::Rejected { by, reason, retry_after }
    }
}

/// What a server says about the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryHint {
    /// Not before this time has passed, and better not all at once then: HTTP's `Retry-After`, which
    /// tells many clients the same second.
    After(Duration),
    /// When exactly this time has passed: gRPC's pushback. A backoff starts anew after it.
    Exactly(Duration),
    /// Not at all.
    Never,
}

/// Whether the reader's ambient deadline outlives the one that was enforced below it.
fn has_time_left(enforced: Option<Deadline>) -> bool {
    match (Deadline::current(), enforced) {
        (None, _) => true,
        (Some(own), Some(enforced)) if enforced >= own => false,
        (Some(own), _) => !own.has_passed(),
    }
}
