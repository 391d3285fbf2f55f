use std::time::Duration;

use buttress_control::{Delays, RetryKind};
use buttress_core::{Deadline, Propagate, Reason, Replay, RetryHint, Verdict};
use buttress_state::Withdrawal;

use super::{
    Attempts,
    next_attempt::{AttemptPlan, Ended, LEAST, is_refused},
};
use crate::{StopReason, settings::OpenCircuits};

/// Plans the attempt after a failed one, or returns why there is none.
///
/// [`plan`](Attempts::plan) asks in the order that the crate docs list.
impl<S, M, J, Saved, Seed> Attempts<S, M, J, Saved, Seed> {
    pub(crate) fn plan<Req>(&mut self, ended: Ended) -> Result<AttemptPlan<Req>, StopReason>
    where
        M: Replay<Req, Saved = Saved> + Propagate<Req>,
    {
        let free = self.is_free(ended.verdict);
        // Every return without a plan drops this payment, and `Withdrawal::drop` refunds it.
        let held = self.hold(ended, free);
        // Before the checks below: a failure counts against the budget also if the call stops here.
        let hint = self.account_for(ended, free)?;
        if ended.gave_up {
            return Err(StopReason::GaveUpBelow);
        }
        if hint == Some(RetryHint::Never) {
            return Err(StopReason::Pushback);
        }
        self.has_attempts(free)?;
        let (_, saved) = self.spare.as_ref().ok_or(StopReason::NotReplayable)?;
        let never_processed = free || ended.verdict == Verdict::NeverProcessed;
        if !never_processed && !self.mode.repeatable(saved, ended.answered) {
            return Err(StopReason::NotIdempotent);
        }
        let delay = self.delay(hint, free)?;
        let attempt = if free { self.attempt().transparent() } else { self.attempt().next() };
        let (_, saved) = self.spare.as_ref().ok_or(StopReason::NotReplayable)?;
        let request = self.mode.again(saved, attempt).ok_or(StopReason::NotReplayable)?;
        self.can_announce(&request, delay)?;
        // Asked last, so that a call which stops for another reason pays nothing.
        let paid = match ended.verdict {
            _ if free => held,
            Verdict::TimedOut => self.withdraw(RetryKind::Timeout)?,
            _ => self.withdraw(RetryKind::Error)?,
        };
        let used = &mut self.tries().free;
        used.never_processed |= free && ended.verdict == Verdict::NeverProcessed;
        used.rejected |= matches!(ended.verdict, Verdict::Rejected { .. });
        Ok(AttemptPlan { request, attempt, paid, delay })
    }

    fn withdraw(&self, kind: RetryKind) -> Result<Withdrawal, StopReason> {
        self.settings.budget.withdraw(kind).ok_or(StopReason::BudgetEmpty)
    }

    /// Checks that attempts are left. A free attempt needs a layer of more than one attempt.
    fn has_attempts(&self, free: bool) -> Result<(), StopReason> {
        let most = self.settings.state.attempts();
        let is_left = if free {
            most > 1
        } else {
            self.attempt().previous_attempts().saturating_add(1) < most
        };
        is_left.then_some(()).ok_or(StopReason::AttemptsUsed)
    }

    /// Reads the hint of a failure that may be repeated, and reports the failure to the budget.
    fn account_for(&mut self, ended: Ended, free: bool) -> Result<Option<RetryHint>, StopReason> {
        let hint = match ended.verdict {
            Verdict::Transient | Verdict::TimedOut | Verdict::NeverProcessed => None,
            Verdict::Throttled(hint) => hint,
            Verdict::Rejected { reason: Reason::DeadlineExceeded, .. } => {
                return Err(StopReason::Deadline);
            }
            Verdict::Rejected { .. } if self.was_rejected() => return Err(StopReason::Rejected),
            Verdict::Rejected { reason, retry_after, .. } => {
                Some(self.rejection_hint(reason, retry_after).ok_or(StopReason::Rejected)?)
            }
            _ => return Err(StopReason::NotRetryable),
        };
        if !free {
            self.settings.budget.failed(ended.counted);
        }
        Ok(hint)
    }

    /// When a rejected call may come again. `None` if the call must stop.
    fn rejection_hint(&self, reason: Reason, retry_after: Option<Duration>) -> Option<RetryHint> {
        if reason != Reason::CircuitOpen {
            return retry_after.map(RetryHint::Exactly);
        }
        // All callers of an outage are told the same instant, at which the circuit half-opens. Only
        // a few of them are admitted then.
        let waits = self.settings.open_circuits == OpenCircuits::Wait;
        retry_after.filter(|_| waits).map(RetryHint::After)
    }

    /// Whether the call has waited for the time that an earlier rejection named.
    pub(crate) fn was_rejected(&self) -> bool {
        self.tries.as_ref().is_some_and(|tries| tries.free.rejected)
    }

    /// Takes the payment of the current attempt for a free attempt after it, if the current attempt
    /// did not reach the service.
    ///
    /// If an inner retry gave up, an attempt of its own may have reached the service, so the
    /// payment stays.
    fn hold(&mut self, ended: Ended, free: bool) -> Withdrawal {
        if !free || ended.gave_up || !is_refused(ended.verdict) {
            return Withdrawal::FREE;
        }
        let paid = self.tries.as_mut().and_then(|tries| tries.paid.take());
        Withdrawal::of(&self.settings.budget, paid)
    }

    /// Returns the wait before the next attempt, if the attempt can still end in time.
    fn delay(&mut self, hint: Option<RetryHint>, free: bool) -> Result<Duration, StopReason> {
        let left = self.until().map(Deadline::remaining);
        match hint {
            Some(RetryHint::Exactly(hinted)) => {
                self.allows_wait(hinted, left)?;
                self.fits(hinted, left)?;
                if !free {
                    self.tries().delays = Delays::new();
                }
                Ok(hinted)
            }
            Some(RetryHint::After(hinted)) => {
                self.allows_wait(hinted, left)?;
                self.fits(hinted, left)?;
                // A free attempt after such a hint follows an open circuit.
                let spread = if free { hinted / 2 } else { self.backoff() };
                // If the whole spread does not fit, a shorter spread still separates callers that
                // have the same deadline.
                let most = spread.min(self.spare_time(hinted, left));
                Ok(hinted.saturating_add(most.mul_f64(self.settings.random.draw())))
            }
            _ => {
                let delay = if free { Duration::ZERO } else { self.backoff() };
                self.fits(delay, left)?;
                Ok(delay)
            }
        }
    }

    fn backoff(&mut self) -> Duration {
        let random = self.settings.random.draw();
        let backoff = self.settings.state.backoff();
        backoff.next(&mut self.tries().delays, random)
    }

    /// Checks that a hinted wait fits into the deadline, or into `max_hint` if there is no
    /// deadline.
    fn allows_wait(&self, hinted: Duration, left: Option<Duration>) -> Result<(), StopReason> {
        let is_allowed = match left {
            Some(left) => hinted.is_zero() || hinted.saturating_add(LEAST) <= left,
            None => hinted <= self.settings.max_hint,
        };
        is_allowed.then_some(()).ok_or(StopReason::PushbackExceedsDeadline)
    }

    /// Checks that an attempt which begins after `delay` has the least, and the usual, time.
    fn fits(&self, delay: Duration, left: Option<Duration>) -> Result<(), StopReason> {
        let Some(left) = left else { return Ok(()) };
        if delay.saturating_add(LEAST) > left {
            return Err(StopReason::Deadline);
        }
        if delay.saturating_add(self.usual()) >= left && !self.usual().is_zero() {
            return Err(StopReason::CannotFinish);
        }
        Ok(())
    }

    /// Returns how much later than after `delay` the attempt may begin.
    fn spare_time(&self, delay: Duration, left: Option<Duration>) -> Duration {
        let needed = self.usual().max(LEAST);
        left.map_or(Duration::MAX, |left| left.saturating_sub(delay).saturating_sub(needed))
    }

    fn usual(&self) -> Duration {
        self.settings.state.attempt_time.usual()
    }
}
