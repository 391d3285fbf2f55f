use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{Attempt, Deadline, MAX_READINESS_WAIT, Reason, Signals, Verdict};
use buttress_state::Withdrawal;
use tokio::time::{Instant, Sleep, sleep_until};

/// A call between two attempts.
pub(crate) struct NextAttempt<Req, Outcome> {
    pub(crate) plan: AttemptPlan<Req>,
    /// The outcome of the last attempt, if it could be kept. Returned if the next attempt cannot
    /// begin in time.
    pub(crate) last: Option<Outcome>,
    pub(crate) verdict: Verdict,
    /// The signals of the last attempt, except what it spent.
    pub(crate) signals: Signals,
}

impl<Req, Outcome> NextAttempt<Req, Outcome> {
    /// Takes the last outcome if the deadline has passed, or if the attempt can announce no time.
    /// Without a deadline, takes it once the service was pending for [`MAX_READINESS_WAIT`].
    ///
    /// If no outcome was kept, there is nothing to return, and the wait goes on.
    pub(crate) fn overtaken<T>(
        &mut self,
        deadline: Option<Deadline>,
        is_late: bool,
        end: &mut Option<Pin<Box<Sleep>>>,
        readiness: &Poll<T>,
        cx: &mut Context<'_>,
    ) -> Option<Outcome> {
        self.last.as_ref()?;
        let until =
            || deadline.map_or_else(|| Instant::now() + MAX_READINESS_WAIT, Deadline::instant);
        // A ready service is checked against the clock. `end` exists only once the service was
        // pending, and a timer may fire up to a millisecond late.
        let has_passed = match readiness {
            Poll::Ready(_) => is_late || deadline.is_some_and(Deadline::has_passed),
            // Boxed: set only while a retry waits for readiness.
            Poll::Pending => end
                .get_or_insert_with(|| Box::pin(sleep_until(until())))
                .as_mut()
                .poll(cx)
                .is_ready(),
        };
        if has_passed { self.last.take() } else { None }
    }
}

/// A further attempt: the request, the delay, and the payment.
pub(crate) struct AttemptPlan<Req> {
    pub(crate) request: Req,
    pub(crate) attempt: Attempt,
    pub(crate) paid: Withdrawal,
    pub(crate) delay: Duration,
}

/// The end of an attempt.
#[derive(Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) verdict: Verdict,
    /// An inner retry gave up.
    pub(crate) gave_up: bool,
    /// An inner layer that shares the budget has counted the outcome.
    pub(crate) counted: bool,
    /// The service itself has responded.
    pub(crate) answered: bool,
    pub(crate) signals: Signals,
}

/// Whether the service has provably not seen the call. If a deadline below ended the call, it may
/// have.
pub(crate) fn is_refused(verdict: Verdict) -> bool {
    match verdict {
        Verdict::NeverProcessed => true,
        Verdict::Rejected { reason, .. } => reason != Reason::DeadlineExceeded,
        _ => false,
    }
}

/// The least time left for an attempt, because timers fire up to a millisecond late.
pub(crate) const LEAST: Duration = Duration::from_millis(1);
