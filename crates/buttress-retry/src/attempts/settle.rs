use std::{mem, ops::ControlFlow};

use buttress_core::{Attempt, Enforcement, MarkGaveUp, Propagate, Replay, Signals, Verdict};

use super::{
    Attempts,
    next_attempt::{Ended, NextAttempt},
};
use crate::StopReason;

/// Settles a failed attempt: plans the next one, or ends the call.
impl<S, M, J, Saved, Seed> Attempts<S, M, J, Saved, Seed> {
    /// Returns the next attempt, or the outcome of the call if there is none.
    ///
    /// An outcome that holds no resources is kept through the wait: an error, or a response without
    /// a body. Any other response is dropped.
    #[cold]
    pub(crate) fn failed<Req, Res, E>(
        &mut self,
        outcome: Result<Res, E>,
        mut ended: Ended,
    ) -> ControlFlow<Result<Res, E>, NextAttempt<Req, Result<Res, E>>>
    where
        M: Replay<Req, Saved = Saved> + Propagate<Req> + MarkGaveUp<Res>,
    {
        self.trace(ended.verdict);
        if let Ok(response) = &outcome
            && let Some(is_marked) = self.mode.is_marked(response)
        {
            ended.gave_up = is_marked;
            // The mark travels in the response. The signal may be that of a call on the side.
            ended.signals.gave_up = false;
        }
        match self.plan(ended) {
            Ok(plan) => {
                let (instance, verdict) = (self.settings.origin.name(), ended.verdict);
                let (attempt, delay) = (self.attempt().number(), plan.delay);
                let observed = self.is_observing();
                tracing::debug!(
                    name: "retry.scheduled", target: "buttress",
                    instance, attempt, ?delay, ?verdict, observed,
                );
                if observed {
                    // Must be spent, not dropped: `Withdrawal::drop` would refund what a real retry
                    // costs.
                    plan.paid.spend();
                    self.settings.state.note_retry();
                    self.raise(ended.signals);
                    return ControlFlow::Break(outcome);
                }
                let is_kept = match &outcome {
                    Ok(response) => self.mode.is_bare(response),
                    Err(_) => true,
                };
                let last = is_kept.then_some(outcome);
                let mut signals = ended.signals;
                let spent = mem::take(&mut signals.spent);
                let tries = self.tries();
                tries.spent_below = tries.spent_below.plus(spent);
                ControlFlow::Continue(NextAttempt { plan, last, verdict, signals })
            }
            Err(reason) => {
                ControlFlow::Break(self.stop(reason, ended.verdict, ended.signals, outcome))
            }
        }
    }

    /// Ends the call with the kept outcome, because the next attempt did not become ready in time.
    pub(crate) fn overtaken<Res, E>(
        &mut self,
        verdict: Verdict,
        signals: Signals,
        outcome: Result<Res, E>,
    ) -> Result<Res, E>
    where
        M: MarkGaveUp<Res>,
    {
        // Must be dropped: the service may have become ready, and then holds a permit.
        self.spare = None;
        let reason =
            if self.until().is_some() { StopReason::Deadline } else { StopReason::NotReady };
        self.stop(reason, verdict, signals, outcome)
    }

    /// Ends the call with its last `outcome`.
    #[cold]
    fn stop<Res, E>(
        &mut self,
        reason: StopReason,
        verdict: Verdict,
        mut signals: Signals,
        mut outcome: Result<Res, E>,
    ) -> Result<Res, E>
    where
        M: MarkGaveUp<Res>,
    {
        // A call that waited for a rejection's time and was rejected again has tried, too.
        let has_tried = self.attempt() > Attempt::FIRST;
        let is_giving_up = reason.is_giving_up(has_tried)
            || (reason == StopReason::Rejected && self.was_rejected());
        // A call that has tried gives up also if its layer makes a single attempt by now.
        let can_try = has_tried || self.settings.state.attempts() > 1;
        if is_giving_up && can_try && !self.is_observing() {
            let is_marked = outcome.as_mut().is_ok_and(|response| self.mode.mark_gave_up(response));
            signals.gave_up |= !is_marked;
        }
        self.raise(signals);
        self.settings.state.note_stop(reason);
        let (instance, attempts) = (self.settings.origin.name(), self.attempt().number());
        let reason = reason.as_str();
        tracing::debug!(name: "retry.stopped", target: "buttress", instance, reason, attempts, ?verdict);
        outcome
    }

    /// Whether the layer only observes. Then the layer makes no further attempt, and never gives
    /// up.
    fn is_observing(&self) -> bool {
        self.settings.enforcement == Enforcement::Observe
    }
}
