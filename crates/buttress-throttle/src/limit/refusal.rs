use std::{fmt, time::Duration};

use buttress_core::{Deadline, Quota, Reason};

/// Why a call was not let through, and what its caller may be told.
#[derive(Debug)]
pub struct Refusal {
    pub(crate) detail: RefusalReason,
    pub(crate) reason: Reason,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) quotas: Option<Box<[Quota]>>,
}

impl Refusal {
    pub(crate) const fn new(why: RefusalReason) -> Self {
        let reason = why.reason();
        Self { detail: why, reason, retry_after: None, deadline: None, quotas: None }
    }

    /// By a rate, whose cells are there after `delay`, if that is known.
    pub(crate) fn limited(self, delay: Option<Duration>) -> Self {
        Self { reason: Reason::RateLimited, retry_after: delay, ..self }
    }

    pub(crate) fn at(deadline: Deadline) -> Self {
        Self { deadline: Some(deadline), ..Self::new(RefusalReason::Deadline) }
    }
}

/// What stood against a call, more exactly than its [`Reason`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// All permits were out, and there is no queue.
    Full,
    /// The queue was full too.
    QueueFull,
    /// A later call needed the place in the queue more.
    Displaced,
    /// It would have waited for longer than it could.
    ExpectedWait,
    /// It had waited for as long as calls may wait here.
    MaxWait,
    /// It had waited for too long in a queue that does not get shorter.
    CoDel,
    /// Its deadline passed in the queue.
    Deadline,
    /// The rate was used up.
    Rate,
    /// It weighs more than the rate ever holds.
    Cost,
    /// The service accepts too few calls.
    AcceptRatio,
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
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
