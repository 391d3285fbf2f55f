use std::ops::ControlFlow;

use buttress_core::{Attempt, Enforcement, MarkGaveUp, Propagate, Replay, Signals, Verdict};

use super::{
    Attempts,
    next_attempt::{Ended, NextAttempt},
};
use crate::StopReason;

/// What follows an attempt that failed: another one, or the end of the call.
impl<S, M, J, Saved, Seed> Attempts<S, M, J, Saved, Seed> {
    /// What to do with a failure: hand it on, or try again after a while.
    ///
    /// Keeps what it can of an outcome through the wait: a response that holds nothing, and an error.
    /// Any other response is dropped.
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
                    // The payment must not go back: the budget is to see what a real retry costs.
                    plan.paid.spend();
                    self.settings.state.note_retry();
                    return ControlFlow::Break(outcome);
                }
                let is_kept = match &outcome {
                    Ok(response) => self.mode.is_bare(response),
                    Err(_) => true,
                };
                let last = (self.until().is_some() && is_kept).then_some(outcome);
                ControlFlow::Continue(NextAttempt { plan, last, verdict })
            }
            Err(why) => ControlFlow::Break(self.stop(why, ended.verdict, outcome)),
        }
    }

    /// Ends the call with the outcome it kept, for its deadline has passed before another attempt began.
    pub(crate) fn overtaken<Res, E>(
        &mut self,
        verdict: Verdict,
        outcome: Result<Res, E>,
    ) -> Result<Res, E>
    where
        M: MarkGaveUp<Res>,
    {
        // The service may have become ready: what that has reserved goes back.
        self.spare = None;
        self.stop(StopReason::Deadline, verdict, outcome)
    }

    /// Ends the call with its last `outcome`.
    #[cold]
    fn stop<Res, E>(
        &mut self,
        why: StopReason,
        verdict: Verdict,
        mut outcome: Result<Res, E>,
    ) -> Result<Res, E>
    where
        M: MarkGaveUp<Res>,
    {
        // A rejection that was waited for and came again is a failure of trying, too.
        let has_tried = self.attempt() > Attempt::FIRST;
        let is_giving_up =
            why.is_giving_up(has_tried) || (why == StopReason::Rejected && self.was_rejected());
        if is_giving_up && self.settings.attempts > 1 && !self.is_observing() {
            let is_marked = outcome.as_mut().is_ok_and(|response| self.mode.mark_gave_up(response));
            if !is_marked {
                Signals::raise_gave_up();
            }
        }
        self.settings.state.note_stop(why);
        let (instance, attempts) = (self.settings.origin.name(), self.attempt().number());
        let reason = why.as_str();
        tracing::debug!(name: "retry.stopped", target: "buttress", instance, reason, attempts, ?verdict);
        outcome
    }

    /// Whether the layer only observes. Then it makes no further attempt, and has given up nothing.
    fn is_observing(&self) -> bool {
        self.settings.enforcement == Enforcement::Observe
    }
}
