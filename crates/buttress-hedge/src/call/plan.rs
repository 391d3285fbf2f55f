use std::{
    sync::atomic::Ordering::Relaxed,
    task::{Context, Poll},
};

use buttress_core::{Attempt, Deadline, InnerReport, Judge, Propagate, Replay, Timer};
use tower_service::Service;

use super::{
    HedgedCall,
    race::{Due, KeptRequest, SentHedge, WaitingHedge},
};
use crate::WithheldReason;

/// Plans and sends the hedges of a call.
impl<S, Req, M, J> HedgedCall<S, Req, M, J>
where
    S: Service<Req> + Clone,
    M: Replay<Req> + Propagate<Req>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    /// Begins a hedge that is due, unless there is a reason to withhold it.
    pub(super) fn begin_hedge(&mut self) {
        if self.used() >= self.settings.state.at_most() {
            // A handle has lowered the number since the hedge was scheduled.
            self.stop_hedging();
            return;
        }
        let planned = self.plan();
        self.timer = Timer::new();
        self.due = Due::Never;
        match planned {
            Err(reason) => self.withhold(reason),
            Ok(hedge) if self.settings.is_observing() => {
                // Must be spent, not dropped: dropping the payment would refund what a real hedge
                // costs.
                hedge.payment.spend();
                self.note_sent(hedge.attempt);
                self.schedule_next();
            }
            Ok(hedge) => self.race().waiting = Some(hedge),
        }
    }

    /// Makes the request of the next hedge, and pays for it.
    fn plan(&self) -> Result<WaitingHedge<Req>, WithheldReason> {
        let saved = match &self.kept {
            KeptRequest::Kept(_, saved) => saved,
            KeptRequest::NotKept(reason) => return Err(*reason),
            KeptRequest::Released => return Err(WithheldReason::NotReplayable),
        };
        if self.until().is_some_and(Deadline::has_passed) {
            return Err(WithheldReason::Deadline);
        }
        let attempt =
            (0..=self.used()).fold(Attempt::current(), |attempt, _| attempt.next()).spare();
        let request = self.mode.again(saved, attempt).ok_or(WithheldReason::NotReplayable)?;
        if let Some(deadline) = self.announced() {
            let can = self.mode.can_set_deadline(&request, deadline);
            can.map_err(|_| WithheldReason::Deadline)?;
        }
        // Asked last, so that a hedge which is withheld for another reason pays nothing.
        let payment = self.settings.pay()?;
        Ok(WaitingHedge { request, attempt, payment, end: None })
    }

    /// Polls the hedge that waits for readiness, and sends it once the service is ready.
    ///
    /// Returns whether the hedge waits no longer.
    pub(super) fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(race) = self.race.get() else { return Poll::Ready(()) };
        let Some(attempt) = race.waiting.as_ref().map(|hedge| hedge.attempt) else {
            return Poll::Ready(());
        };
        let KeptRequest::Kept(service, _) = &mut self.kept else { return Poll::Ready(()) };
        let tally = self.settings.budget.tally();
        let mut report = InnerReport::EMPTY;
        match tally.run_and_report(attempt, &mut report, || service.poll_ready(cx)) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => {
                self.send();
                Poll::Ready(())
            }
            Poll::Ready(Err(error)) => {
                // An instance that failed must not be polled again.
                *service = service.clone();
                race.used = race.used.saturating_add(1);
                // Dropping the hedge refunds its payment.
                race.waiting = None;
                self.schedule_next();
                self.unready(&error, report);
                Poll::Ready(())
            }
        }
    }

    /// Sends the hedge that waits, because the service is ready.
    fn send(&mut self) {
        let Some(hedge) = self.race.get().and_then(|race| race.waiting.take()) else { return };
        let WaitingHedge { mut request, attempt, payment, .. } = hedge;
        // Asked again, because the hedge may have waited past the deadline.
        let is_late = self.until().is_some_and(Deadline::has_passed);
        let mut set = |deadline| self.mode.set_deadline(&mut request, deadline);
        if is_late || self.announced().is_some_and(|deadline| set(deadline).is_err()) {
            self.withhold(WithheldReason::Deadline);
            return;
        }
        self.note_sent(attempt);
        // Spent before `call`: if `call` panics, the request may be on its way, and dropping the
        // payment must not refund it.
        let paid = payment.spend();
        let tally = self.settings.budget.tally();
        let KeptRequest::Kept(service, _) = &mut self.kept else { return };
        let future = tally.run(attempt, || service.call(request));
        let race = self.race();
        race.hedges = race.hedges.saturating_add(1);
        // Boxed: the call has no room for a second future, and the hedges must not move.
        race.running.push(Some(Box::pin(SentHedge { future, attempt, paid })));
        self.schedule_next();
    }

    /// Counts and reports a hedge that is sent, or would be.
    fn note_sent(&mut self, attempt: Attempt) {
        let race = self.race();
        race.used = race.used.saturating_add(1);
        self.settings.state.sent.fetch_add(1, Relaxed);
        let (instance, attempt) = (self.settings.origin.name(), attempt.number());
        let (since, observed) = (self.clock.since, self.settings.is_observing());
        tracing::debug!(
            name: "hedge.sent", target: "buttress",
            instance, attempt, after = ?since.map(|since| since.elapsed()).unwrap_or_default(), observed,
        );
    }

    /// Schedules the hedge after one that was sent, a delay later.
    fn schedule_next(&mut self) {
        self.timer = Timer::new();
        if self.used() >= self.settings.state.at_most() {
            self.stop_hedging();
            return;
        }
        self.due = match self.settings.state.delay() {
            None => Due::Never,
            Some(delay) if delay.is_zero() => Due::Now,
            Some(delay) => self.due_in_time(Deadline::after(delay)),
        };
    }

    /// Returns the number of hedges that were sent, or could not be.
    fn used(&self) -> u32 {
        self.race.peek().map_or(0, |race| race.used)
    }

    /// The deadline that a hedge announces to another process.
    fn announced(&self) -> Option<Deadline> {
        Deadline::earliest(Deadline::whole(), self.saved_deadline())
    }
}
