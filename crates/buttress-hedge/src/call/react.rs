use std::time::Duration;

use buttress_core::{Deadline, InnerReport, Judge, Replay, RetryHint, Timer, Verdict};
use tower_service::Service;

use super::{
    HedgedCall,
    race::{Due, KeptRequest},
    verdict::{is_refused, may_repeat},
};
use crate::{WithheldReason, settings::OnFailure};

/// Decides after a failed try what becomes of the hedges that are not sent yet.
impl<S, Req, M, J> HedgedCall<S, Req, M, J>
where
    S: Service<Req> + Clone,
    M: Replay<Req>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    /// Reacts to a hedge that failed to become ready. Such a failure never wins.
    pub(super) fn unready(&mut self, error: &S::Error, report: InnerReport) {
        let verdict = self.judge.judge(&self.mode, &self.seed, Err(error));
        if is_refused(verdict) {
            self.stop_hedging();
        } else {
            self.react(verdict, report.gave_up());
        }
    }

    /// Schedules the next hedge after a failed try, or ends the hedging.
    pub(super) fn react(&mut self, verdict: Verdict, gave_up: bool) {
        if matches!(self.kept, KeptRequest::Released) {
            return;
        }
        let may_follow = self.hedges_failure(verdict, gave_up);
        match verdict {
            Verdict::Throttled(Some(RetryHint::After(wait) | RetryHint::Exactly(wait))) => {
                self.postpone(wait);
            }
            Verdict::Throttled(_) => self.withhold(WithheldReason::Throttled),
            // A hedge that waits for readiness is the next already.
            _ if may_follow && self.race().waiting.is_none() => self.due = Due::Now,
            // Under `after_failures` the call would still wait for the next hedge, which would
            // repeat a failure that must not be repeated.
            _ if !may_follow && self.race().have_all_failed() => self.stop_hedging(),
            _ => {}
        }
    }

    /// Sends the next hedge after the time that the service named.
    fn postpone(&mut self, wait: Duration) {
        let due = Deadline::after(wait);
        let fits = match self.until() {
            Some(until) => due < until,
            None => wait <= MAX_HINT,
        };
        if !fits {
            self.withhold(WithheldReason::Throttled);
            return;
        }
        // Dropping a hedge that waits refunds its payment. The clone that waited holds a place in a
        // queue, or a permit.
        if self.race().waiting.take().is_some()
            && let KeptRequest::Kept(service, _) = &mut self.kept
        {
            *service = service.clone();
        }
        self.timer = Timer::new();
        self.due = if wait.is_zero() { Due::Now } else { Due::At(due) };
    }

    /// Whether a call whose first try failed alone goes on.
    pub(super) fn goes_on(&self, verdict: Verdict, gave_up: bool) -> bool {
        let is_open = !matches!(self.kept, KeptRequest::Released);
        let is_hedged =
            matches!(verdict, Verdict::Throttled(_)) || self.hedges_failure(verdict, gave_up);
        is_open && is_hedged && self.settings.on_failure == OnFailure::Hedge
    }

    /// Whether a failure makes the next hedge.
    fn hedges_failure(&self, verdict: Verdict, gave_up: bool) -> bool {
        self.settings.on_failure == OnFailure::Hedge && may_repeat(verdict) && !gave_up
    }
}

/// The longest wait that a call without a deadline accepts from the service.
const MAX_HINT: Duration = Duration::from_secs(60);
