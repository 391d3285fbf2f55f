use std::{fmt, time::Duration};

use buttress_core::{Deadline, Quota, Reason};

/// The reason why a call is not admitted, and the facts for its caller.
#[derive(Debug)]
pub struct Refusal {
    pub(crate) detail: RefusalReason,
    pub(crate) reason: Reason,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) quotas: Option<Box<[Quota]>>,
}

impl Refusal {
    pub(crate) const fn new(detail: RefusalReason) -> Self {
        let reason = detail.reason();
        Self { detail, reason, retry_after: None, deadline: None, quotas: None }
    }

    /// A refusal by a rate. `delay`: when its cells will be there, if known.
    pub(crate) fn limited(self, delay: Option<Duration>) -> Self {
        Self { reason: Reason::RateLimited, retry_after: delay, ..self }
    }

    pub(crate) fn at(deadline: Deadline) -> Self {
        Self { deadline: Some(deadline), ..Self::new(RefusalReason::Deadline) }
    }
}

/// The reason of a refusal, in more detail than [`Reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// All permits were in use, and there is no queue, or the call is spare.
    Full,
    /// The queue was full.
    QueueFull,
    /// A later call of a higher criticality took the place in the queue.
    Displaced,
    /// The expected wait was longer than the call could wait.
    ExpectedWait,
    /// The call had waited for `max_wait`.
    MaxWait,
    /// The call had waited too long in a queue that does not get shorter.
    CoDel,
    /// The deadline passed in the queue.
    Deadline,
    /// The rate was used up.
    Rate,
    /// The call costs more than the rate ever holds.
    Cost,
    /// The service accepts too few calls.
    AcceptRatio,
    /// The store of a fleet is away, and the policy admits no call without the store.
    Store,
}

impl RefusalReason {
    pub(crate) const fn reason(self) -> Reason {
        match self {
            Self::Deadline => Reason::DeadlineExceeded,
            Self::Rate => Reason::RateLimited,
            Self::Cost => Reason::NeverAdmissible,
            _ => Reason::Overloaded,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::QueueFull => "queue_full",
            Self::Displaced => "displaced",
            Self::ExpectedWait => "expected_wait",
            Self::MaxWait => "max_wait",
            Self::CoDel => "codel",
            Self::Deadline => "deadline",
            Self::Rate => "rate",
            Self::Cost => "cost",
            Self::AcceptRatio => "accept_ratio",
            Self::Store => "store",
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
