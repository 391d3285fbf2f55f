use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use buttress_core::{
    Deadline, InnerReport, Judge, MAX_READINESS_WAIT, MarkGaveUp, Propagate, Replay, Signals,
};
use tower_service::Service;

use super::{
    HedgedCall, OutcomeOf,
    race::{Due, FailedTry, FirstTry, FirstTryProjection, Winner},
    verdict::{is_refused, is_win},
};
use crate::settings::OnFailure;

type WinnerOf<S, Req> = Winner<OutcomeOf<S, Req>>;

/// Polls the tries of a call, and decides which outcome the call returns.
impl<S, Req, M, J> HedgedCall<S, Req, M, J>
where
    S: Service<Req> + Clone,
    M: Replay<Req> + Propagate<Req> + MarkGaveUp<S::Response>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    /// Polls all tries, and sends the hedges that are due.
    #[cold]
    pub(crate) fn poll_tries(
        &mut self,
        mut first: Pin<&mut FirstTry<S::Future>>,
        cx: &mut Context<'_>,
    ) -> Poll<OutcomeOf<S, Req>> {
        let hedges = self.race.peek().map_or(0, |race| race.running.len());
        let turn = self.race.get().map_or(0, |race| {
            race.turn = (race.turn + 1) % (hedges + 1);
            race.turn
        });
        // In turn, because a try that uses up the cooperative budget of the task would keep all tries
        // behind it from making progress.
        for place in (turn..=hedges).chain(0..turn) {
            let winner = match place.checked_sub(1) {
                None => self.poll_first(first.as_mut(), cx),
                Some(hedge) => self.poll_hedge(hedge, cx),
            };
            if let Some(winner) = winner {
                return Poll::Ready(self.finish(first, winner));
            }
        }
        if let Some(race) = self.race.get() {
            race.running.retain(Option::is_some);
        }
        self.poll_hedges(first, cx)
    }

    /// Sends the hedges that are due. The running tries have been polled.
    #[cold]
    pub(crate) fn poll_hedges(
        &mut self,
        first: Pin<&mut FirstTry<S::Future>>,
        cx: &mut Context<'_>,
    ) -> Poll<OutcomeOf<S, Req>> {
        loop {
            if self.race.peek().is_none_or(|race| race.waiting.is_none()) {
                if self.poll_due(cx).is_pending() {
                    break;
                }
                self.begin_hedge();
            }
            let sent = self.race.peek().map_or(0, |race| race.running.len());
            if self.poll_waiting(cx).is_pending() {
                break;
            }
            // A hedge that was sent must be polled, so that it can wake the task.
            if let Some(winner) = self.poll_hedge(sent, cx) {
                return Poll::Ready(self.finish(first, winner));
            }
        }
        match self.take_failure(&first, cx) {
            Some(winner) => Poll::Ready(self.finish(first, winner)),
            None => Poll::Pending,
        }
    }

    fn poll_first(
        &mut self,
        mut first: Pin<&mut FirstTry<S::Future>>,
        cx: &mut Context<'_>,
    ) -> Option<WinnerOf<S, Req>> {
        let FirstTryProjection::Running(future) = first.as_mut().project() else { return None };
        // The signals are those of the poll that ends a try, and the call may return the outcome in
        // another poll.
        let (polled, signals) = Signals::watch(|| future.poll(cx));
        let Poll::Ready(outcome) = polled else { return None };
        let verdict = self.judge.judge(&self.mode, &self.seed, outcome.as_ref());
        if is_win(verdict) {
            return Some(Winner { outcome, signals, hedge: None, is_answer: true });
        }
        let gave_up = self.gave_up(&outcome, &signals);
        if self.race.is_empty() && !self.goes_on(verdict, gave_up) {
            return Some(Winner { outcome, signals, hedge: None, is_answer: false });
        }
        // The future may still own the body of the request.
        first.set(FirstTry::Ended);
        let mut signals = signals;
        let race = self.race();
        race.spent_below = race.spent_below.plus(mem::take(&mut signals.spent));
        race.failed = Some(FailedTry { outcome, signals });
        self.react(verdict, gave_up);
        None
    }

    /// Polls the hedge at this place, if there is one.
    fn poll_hedge(&mut self, place: usize, cx: &mut Context<'_>) -> Option<WinnerOf<S, Req>> {
        let slot = self.race.get()?.running.get_mut(place)?;
        let hedge = slot.as_mut()?.as_mut().project();
        let (attempt, paid) = (*hedge.attempt, *hedge.paid);
        let mut report = InnerReport::EMPTY;
        let tally = self.settings.budget.tally();
        let polled = tally.run_and_report(attempt, &mut report, || hedge.future.poll(cx));
        let Poll::Ready(outcome) = polled else { return None };
        // Before the drop of the future, which is code of the user and may make a call: another layer
        // that enters a count overwrites the signals.
        let signals = report.signals();
        // The future may still own the body of the request.
        *slot = None;
        let verdict = self.judge.judge(&self.mode, &self.seed, outcome.as_ref());
        if is_win(verdict) {
            return Some(Winner { outcome, signals, hedge: Some(attempt), is_answer: true });
        }
        let race = self.race();
        race.spent_below = race.spent_below.plus(signals.spent);
        if is_refused(verdict) {
            race.hedges = race.hedges.saturating_sub(1);
            self.settings.refund(paid);
            self.stop_hedging();
        } else {
            let gave_up = self.gave_up(&outcome, &signals);
            self.react(verdict, gave_up);
        }
        None
    }

    /// Whether an inner retry gave up.
    fn gave_up(&self, outcome: &OutcomeOf<S, Req>, signals: &Signals) -> bool {
        let is_marked = outcome.as_ref().ok().and_then(|response| self.mode.is_marked(response));
        is_marked.unwrap_or(signals.gave_up)
    }

    /// Takes the failure of the first try, if all tries have failed and no hedge follows.
    fn take_failure(
        &mut self,
        first: &FirstTry<S::Future>,
        cx: &mut Context<'_>,
    ) -> Option<WinnerOf<S, Req>> {
        let race = self.race.get()?;
        if first.is_running() || race.is_hedge_running() {
            return None;
        }
        let is_waiting = race.waiting.is_some();
        let follows = self.settings.on_failure == OnFailure::Hedge
            && !self.settings.is_observing()
            && (is_waiting || self.due != Due::Never);
        if follows && !(is_waiting && self.poll_end(cx).is_ready()) {
            return None;
        }
        let FailedTry { outcome, signals } = self.race().failed.take()?;
        Some(Winner { outcome, signals, hedge: None, is_answer: false })
    }

    /// Ready at the deadline, or after [`MAX_READINESS_WAIT`] if there is no deadline. For a hedge
    /// that waits for readiness while no try runs.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = self.until();
        let Some(hedge) = self.race().waiting.as_mut() else { return Poll::Pending };
        let after_wait = || Deadline::after(MAX_READINESS_WAIT);
        let end = until.unwrap_or_else(|| *hedge.end.get_or_insert_with(after_wait));
        self.timer.poll(cx, end, &self.settings.state.timers)
    }

    /// Ends the call. Drops all other tries before the outcome is returned.
    fn finish(
        &mut self,
        mut first: Pin<&mut FirstTry<S::Future>>,
        winner: WinnerOf<S, Req>,
    ) -> OutcomeOf<S, Req> {
        let Winner { outcome, mut signals, hedge, is_answer } = winner;
        // The first try of a call that a hedge ends has taken at least the time until now. Without
        // these samples, the quantile would fall the more is hedged.
        let is_measured = is_answer && (hedge.is_none() || first.is_running());
        first.set(FirstTry::Ended);
        self.stop_hedging();
        if let Some(race) = self.race.take() {
            signals.spent = signals.spent.plus(race.spent());
        }
        if self.clock.is_sample && is_measured {
            self.settings.state.learn(self.clock);
        }
        if let Some(hedge) = hedge {
            self.settings.win(hedge.number());
        }
        // Last, because the tries that were dropped above are code of the user.
        if !signals.is_empty() {
            signals.raise();
        }
        outcome
    }
}
