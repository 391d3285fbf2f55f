use std::time::Duration;

use crate::{Deadline, Reason, Rejection};

/// The meaning of an outcome. All layers read the same verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The call succeeded.
    Success,
    /// The service failed, and another attempt may succeed.
    Transient,
    /// The service did not respond within the time of an attempt. Another attempt may succeed, but
    /// the service may have processed this attempt.
    TimedOut,
    /// The service asks for less load, and may say for how long.
    Throttled(Option<RetryHint>),
    /// The call failed, and another attempt would fail too.
    Permanent,
    /// The call failed, and the classifier cannot tell how. A layer that repeats calls treats the
    /// outcome as [`Permanent`](Self::Permanent). A layer that measures the service does not: a
    /// permanent failure is an answer of the service, and this outcome may be none.
    Unknown,
    /// The service itself ran out of its time. Too much load is a possible cause, but another
    /// attempt would have no more time.
    Expired,
    /// The service provably never began to process the call, so any request may be sent again.
    NeverProcessed,
    /// An inner layer rejected the call. The service is not to blame.
    #[non_exhaustive]
    Rejected {
        /// The pattern of the layer.
        by: &'static str,
        /// The reason of the rejection.
        reason: Reason,
        /// The delay after which a call may be admitted, if that is known.
        retry_after: Option<Duration>,
    },
}

impl Verdict {
    /// Returns the verdict of the present layer on a rejection found in an outcome.
    ///
    /// If an inner deadline passed and the present ambient deadline has time left, an attempt timed
    /// out. That is a failure of the service: [`TimedOut`](Self::TimedOut). Any other rejection is
    /// [`Rejected`](Self::Rejected).
    pub fn from_rejection(rejection: &Rejection) -> Self {
        if rejection.reason() == Reason::DeadlineExceeded && has_time_left(rejection.deadline()) {
            return Self::TimedOut;
        }
        Self::rejected(rejection.origin().layer(), rejection.reason(), rejection.retry_after())
    }

    /// Creates the verdict on a call that the layer with the pattern `by` rejected.
    #[inline]
    pub const fn rejected(by: &'static str, reason: Reason, retry_after: Option<Duration>) -> Self {
        Self::Rejected { by, reason, retry_after }
    }
}

/// A server's hint about the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryHint {
    /// Not before this time has passed, and preferably spread out after that: HTTP's `Retry-After`,
    /// which many clients receive for the same second.
    After(Duration),
    /// Exactly when this time has passed: gRPC's pushback. The backoff starts anew afterwards.
    Exactly(Duration),
    /// No further attempt.
    Never,
}

/// Whether the ambient deadline of the present layer outlives the deadline that was enforced below.
fn has_time_left(enforced: Option<Deadline>) -> bool {
    match (Deadline::current(), enforced) {
        (None, _) => true,
        // Before the clock is read: a layer also rejects a call with too little time left to
        // announce (`NoTimeLeft`). The enforced deadline has not passed then.
        (Some(own), Some(enforced)) if enforced >= own => false,
        (Some(own), _) => !own.has_passed(),
    }
}
