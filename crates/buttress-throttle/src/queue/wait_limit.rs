use std::time::Duration;

use buttress_core::Deadline;
use tokio::time::Instant;

use crate::limit::RefusalReason;

/// The end of a wait: the caller's deadline or the layer's `max_wait`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitLimit {
    pub(crate) deadline: Deadline,
    pub(crate) why: RefusalReason,
}

impl WaitLimit {
    /// The earlier of the call's deadline and the longest wait that the layer allows.
    pub(crate) fn earliest(
        now: Instant,
        max_wait: Option<Duration>,
        deadline: Option<Deadline>,
    ) -> Option<Self> {
        let own = max_wait.map(|max| Self {
            deadline: Deadline::from_start(now, max),
            why: RefusalReason::MaxWait,
        });
        let callers = deadline.map(|deadline| Self { deadline, why: RefusalReason::Deadline });
        [callers, own].into_iter().flatten().min_by_key(|wait_limit| wait_limit.deadline)
    }

    pub(crate) fn has_passed(&self, now: Instant) -> bool {
        self.deadline.instant() <= now
    }

    /// Whether the end comes before `wait` has passed.
    pub(crate) fn is_before(&self, now: Instant, wait: Duration) -> bool {
        self.deadline.instant().saturating_duration_since(now) < wait
    }
}
