mod next_attempt;
mod plan;
mod settle;
mod tries;

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{
    Attempt, CallSettings, Deadline, InnerReport, Judge, NoTimeLeft, Propagate, Signals,
    ThreadCopy, Verdict,
};
use buttress_state::Withdrawal;
use tower_service::Service;
use tracing::level_filters::LevelFilter;

pub(crate) use self::next_attempt::{AttemptPlan, Ended, NextAttempt};
use self::{
    next_attempt::{LEAST, is_refused},
    tries::Tries,
};
use crate::{StopReason, attempt_time::Began, settings::Settings};

/// The state of a call over all of its attempts.
pub(crate) struct Attempts<S, M, J, Saved, Seed> {
    settings: Arc<ThreadCopy<CallSettings<Settings>>>,
    mode: M,
    judge: J,
    seed: Seed,
    /// The service and the kept request for a further attempt. `None` if there can be none.
    spare: Option<(S, Saved)>,
    /// The earlier of the ambient deadline and the deadline that came with the request.
    deadline: Option<Deadline>,
    /// The start of the current attempt, if attempt times are learned.
    began: Began,
    /// `None` until an attempt has failed. Boxed, so that the future of a call that succeeds at
    /// once has no room for it.
    tries: Option<Box<Tries>>,
}

impl<S, M, J, Saved, Seed> Attempts<S, M, J, Saved, Seed> {
    #[inline]
    pub(crate) fn new(
        settings: Arc<ThreadCopy<CallSettings<Settings>>>,
        mode: M,
        judge: J,
        seed: Seed,
        spare: Option<(S, Saved)>,
        deadline: Option<Deadline>,
        began: Began,
    ) -> Self {
        Self { settings, mode, judge, seed, spare, deadline, began, tries: None }
    }

    #[inline]
    pub(crate) fn attempt(&self) -> Attempt {
        self.tries.as_ref().map_or(Attempt::FIRST, |tries| tries.attempt)
    }

    /// Runs a poll under the ambient values of this call, and collects what inner layers report
    /// beside the outcome.
    #[inline]
    pub(crate) fn within<R>(&self, report: &mut InnerReport, f: impl FnOnce() -> R) -> R {
        let tally = self.settings.budget.tally();
        Deadline::with(self.deadline, || tally.run_and_report(self.attempt(), report, f))
    }

    pub(crate) fn poll_ready<Req>(
        &mut self,
        report: &mut InnerReport,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), S::Error>>
    where
        S: Service<Req> + Clone,
    {
        let (deadline, attempt) = (self.deadline, self.attempt());
        let Some((service, _)) = &mut self.spare else { return Poll::Ready(Ok(())) };
        let tally = self.settings.budget.tally();
        let ready = || tally.run_and_report(attempt, report, || service.poll_ready(cx));
        let polled = Deadline::with(deadline, ready);
        if let Poll::Ready(Err(_)) = polled {
            // An instance that failed must not be polled again.
            *service = service.clone();
        }
        polled
    }

    /// Begins the next attempt.
    pub(crate) fn begin_next<Req>(&mut self, plan: AttemptPlan<Req>) -> Option<S::Future>
    where
        S: Service<Req>,
        M: Propagate<Req>,
    {
        let AttemptPlan { mut request, attempt, paid, .. } = plan;
        // Spent before `call`: if `call` panics, the request may be on its way, and
        // `Withdrawal::drop` must not refund the attempt.
        let tries = self.tries();
        (tries.attempt, tries.paid) = (attempt, paid.spend());
        self.settings.state.note_retry();
        if let Some(deadline) = self.deadline
            && self.mode.set_deadline(&mut request, deadline).is_err()
        {
            // The wait for readiness used up the deadline, and no outcome was kept to return. The
            // request must not announce the time that it came with. It announces 2 ms, because a
            // header in whole milliseconds could round 1 ms down to none while the clock goes on.
            let _ = self.mode.set_deadline(&mut request, Deadline::after(2 * LEAST));
        }
        self.began =
            Began::now(self.settings.late_attempts, || self.mode.watch_upload(&mut request));
        let deadline = self.deadline;
        if let Some(deadline) = deadline {
            deadline.announces();
        }
        let (service, _) = self.spare.as_mut()?;
        let tally = self.settings.budget.tally();
        Some(Deadline::with(deadline, || tally.run(attempt, || service.call(request))))
    }

    /// Polls an attempt. Sets `failed` if the attempt has failed.
    #[inline]
    pub(crate) fn poll_attempt<F, Req, Res, E>(
        &self,
        future: Pin<&mut F>,
        failed: &mut Option<Ended>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Res, E>>
    where
        F: Future<Output = Result<Res, E>>,
        J: Judge<M, Req, Res, E, Seed = Seed>,
    {
        let (mut report, mut verdict) = (InnerReport::EMPTY, Verdict::Success);
        let mut polled = Poll::Pending;
        self.within(&mut report, || {
            if let Poll::Ready(outcome) = future.poll(cx) {
                // Judged within the poll, so that the judge sees the deadline and signals of the
                // call.
                verdict = self.judge.judge(&self.mode, &self.seed, outcome.as_ref());
                polled = Poll::Ready(outcome);
            }
        });
        // The outcome stays in its place, because each move of an outcome costs a copy.
        let Poll::Ready(outcome) = &polled else { return Poll::Pending };
        if verdict == Verdict::Success {
            if report.has_signals() || self.tries.is_some() {
                self.succeed_with_signals(report);
            } else {
                self.succeed(report);
            }
        } else {
            // Must be asked before `is_answer`, which is the user's code and may make a call: another
            // layer that enters a count overwrites the frame that `is_counted` reads.
            let (gave_up, counted) = (report.gave_up(), report.is_counted());
            let signals = report.signals();
            let answered = verdict != Verdict::TimedOut
                && self.judge.is_answer(&self.mode, &self.seed, outcome.as_ref());
            *failed = Some(Ended { verdict, gave_up, counted, answered, signals });
        }
        polled
    }

    /// Returns the end of an attempt that did not begin, because readiness failed.
    ///
    /// The attempt counts, and earlier payments stay. If the attempt may be repeated for free, its
    /// payment is kept for the free attempt. Otherwise dropping the `plan` refunds the payment.
    pub(crate) fn unready<Req, Res, E>(
        &mut self,
        plan: &mut AttemptPlan<Req>,
        error: &E,
        signals: Signals,
    ) -> Ended
    where
        J: Judge<M, Req, Res, E, Seed = Seed>,
    {
        let mut report = InnerReport::EMPTY;
        let verdict = self.within(&mut report, || {
            self.judge.judge(&self.mode, &self.seed, Err::<&Res, _>(error))
        });
        let is_free = self.is_free(verdict) && is_refused(verdict);
        let tries = self.tries();
        tries.attempt = plan.attempt;
        tries.paid = is_free
            .then(|| mem::replace(&mut plan.paid, Withdrawal::FREE))
            .and_then(Withdrawal::spend);
        Ended { verdict, gave_up: false, counted: false, answered: false, signals }
    }

    /// Succeeds with signals to raise, or after a failed attempt.
    #[cold]
    fn succeed_with_signals(&self, report: InnerReport) {
        // Before `succeed`: its event runs user code, which may make a call.
        let signals = report.signals();
        self.succeed(report);
        self.raise(signals);
    }

    /// Reports the success of the call to the budget and to the learned attempt time.
    #[inline]
    pub(crate) fn succeed(&self, report: InnerReport) {
        let paid = self.tries.as_ref().and_then(|tries| tries.paid);
        // Before the event, whose subscriber is foreign code that may enter a count.
        self.settings.budget.succeeded(paid, report);
        self.trace(Verdict::Success);
        if let Some(took) = self.began.took() {
            self.settings.state.attempt_time.learn(took);
        }
    }

    /// Raises the `signals` of the attempt whose outcome is returned, and what all attempts have
    /// spent.
    ///
    /// Must run in the poll that returns the outcome, outside of [`within`](Self::within).
    #[cold]
    fn raise(&self, mut signals: Signals) {
        if let Some(tries) = &self.tries {
            signals.spent = signals.spent.plus(tries.spent());
        }
        signals.raise();
    }

    #[inline]
    fn trace(&self, verdict: Verdict) {
        // The code of the event stays out of line, because most calls are not traced.
        if LevelFilter::current() >= LevelFilter::TRACE {
            self.emit_trace(verdict);
        }
    }

    #[cold]
    fn emit_trace(&self, verdict: Verdict) {
        tracing::trace!(
            name: "retry.attempt", target: "buttress",
            instance = self.settings.origin.name(), attempt = self.attempt().number(), ?verdict,
        );
    }

    /// Whether a further attempt is neither paid for nor counted: the first of each kind for which
    /// the call provably never reached the service.
    pub(crate) fn is_free(&self, verdict: Verdict) -> bool {
        match verdict {
            Verdict::NeverProcessed => {
                self.tries.as_ref().is_none_or(|tries| !tries.free.never_processed)
            }
            Verdict::Rejected { .. } => true,
            _ => false,
        }
    }

    /// Returns the deadline for the next response head.
    pub(crate) fn until(&self) -> Option<Deadline> {
        Deadline::earliest(self.deadline, Deadline::head())
    }

    /// Checks that a request which is sent after `delay` can still announce some time.
    pub(crate) fn can_announce<Req>(&self, request: &Req, delay: Duration) -> Result<(), StopReason>
    where
        M: Propagate<Req>,
    {
        let Some(deadline) = self.deadline else { return Ok(()) };
        let then = deadline.instant().checked_sub(delay).ok_or(StopReason::Deadline)?;
        self.mode
            .can_set_deadline(request, Deadline::at(then))
            .map_err(|NoTimeLeft| StopReason::Deadline)
    }

    pub(crate) fn tries(&mut self) -> &mut Tries {
        self.tries.get_or_insert_with(|| Box::new(Tries::new()))
    }
}
