use std::{
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use buttress_control::{Delays, RetryKind};
use buttress_core::{Attempt, Carry, Deadline, GaveUp, Hint, Judge, Reason, Replay, Verdict};
use tokio::time::Instant;
use tower_service::Service;

use crate::{Stop, budget::Withdrawal, future::Next, pace::Began, settings::Settings};

/// What a call knows while its attempts come and go.
pub(crate) struct Call<S, M, C, Saved, Seed> {
    settings: Arc<Settings>,
    mode: M,
    judge: C,
    seed: Seed,
    /// For another attempt: a service to call, and what is kept of the request.
    spare: Option<(S, Saved)>,
    deadline: Option<Deadline>,
    /// When the current attempt began, if that is of interest.
    began: Began,
    attempt: Attempt,
    delays: Delays,
    free: Free,
    /// What was paid for the current attempt, and when.
    charged: Option<(RetryKind, Instant)>,
}

impl<S, M, C, Saved, Seed> Call<S, M, C, Saved, Seed> {
    #[inline]
    pub(crate) fn new(
        settings: &Arc<Settings>,
        mode: M,
        judge: C,
        seed: Seed,
        spare: Option<(S, Saved)>,
        began: Began,
    ) -> Self {
        Self {
            settings: Arc::clone(settings),
            mode,
            judge,
            seed,
            spare,
            deadline: Deadline::current(),
            began,
            attempt: Attempt::FIRST,
            delays: Delays::new(),
            free: Free::default(),
            charged: None,
        }
    }

    /// Runs a poll with what is ambient for this call.
    #[inline]
    pub(crate) fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        Deadline::with(self.deadline, || self.attempt.with(f))
    }

    pub(crate) fn poll_ready<Req>(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>>
    where
        S: Service<Req> + Clone,
    {
        let (deadline, attempt) = (self.deadline, self.attempt);
        let Some((service, _)) = &mut self.spare else { return Poll::Ready(Ok(())) };
        let polled = Deadline::with(deadline, || attempt.with(|| service.poll_ready(cx)));
        if let Poll::Ready(Err(_)) = polled {
            // An instance that failed is not to be polled again.
            *service = service.clone();
        }
        polled
    }

    /// Begins the next attempt.
    pub(crate) fn attempt<Req>(&mut self, next: Next<Req>) -> Option<S::Future>
    where
        S: Service<Req>,
        M: Carry<Req>,
    {
        let Next { mut request, paid, .. } = next;
        self.charged = paid.spend();
        self.settings.state.retries.fetch_add(1, Ordering::Relaxed);
        if let Some(deadline) = self.deadline {
            // An attempt without time left is stopped before it begins.
            let _ = self.mode.write(&mut request, deadline);
        }
        self.began = Began::now(self.settings.learning, || self.mode.watch(&mut request));
        let (deadline, attempt) = (self.deadline, self.attempt);
        let (service, _) = self.spare.as_mut()?;
        Some(Deadline::with(deadline, || attempt.with(|| service.call(request))))
    }

    /// The verdict on an outcome. Ask for it [`within`](Self::within) the call.
    #[inline]
    pub(crate) fn judge<Req, Res, E>(&self, outcome: Result<&Res, &E>) -> Verdict
    where
        C: Judge<M, Req, Res, E, Seed = Seed>,
    {
        self.judge.judge(&self.mode, &self.seed, outcome)
    }

    /// What to do with an outcome: hand it on, or try again after a while.
    ///
    /// The outcome is dropped before the wait, so that a failed response holds nothing meanwhile.
    #[inline]
    pub(crate) fn settle<Req, Res, E>(
        &mut self,
        outcome: Result<Res, E>,
        verdict: Verdict,
        gave_up: bool,
    ) -> ControlFlow<Result<Res, E>, Next<Req>>
    where
        M: Replay<Req, Saved = Saved>,
        C: Judge<M, Req, Res, E, Seed = Seed>,
    {
        tracing::trace!(
            name: "retry.attempt", target: "buttress",
            instance = self.settings.origin.name(), attempt = self.attempt.number(), ?verdict,
        );
        if verdict == Verdict::Success {
            self.succeed();
            return ControlFlow::Break(outcome);
        }
        self.failed(outcome, verdict, gave_up)
    }

    #[cold]
    fn failed<Req, Res, E>(
        &mut self,
        outcome: Result<Res, E>,
        verdict: Verdict,
        gave_up: bool,
    ) -> ControlFlow<Result<Res, E>, Next<Req>>
    where
        M: Replay<Req, Saved = Saved>,
        C: Judge<M, Req, Res, E, Seed = Seed>,
    {
        let answered = verdict != Verdict::TimedOut
            && self.judge.answered(&self.mode, &self.seed, outcome.as_ref());
        match self.plan(verdict, gave_up, answered) {
            Ok(next) => {
                drop(outcome);
                let (instance, attempt) = (self.settings.origin.name(), self.attempt.number());
                let delay = next.delay;
                tracing::debug!(name: "retry.scheduled", target: "buttress", instance, attempt, ?delay, ?verdict);
                self.attempt = self.attempt.next();
                ControlFlow::Continue(next)
            }
            Err(why) => {
                self.stop(why, verdict);
                ControlFlow::Break(outcome)
            }
        }
    }

    /// The next attempt's request and how long to wait for it, or why there is none.
    fn plan<Req>(
        &mut self,
        verdict: Verdict,
        gave_up: bool,
        answered: bool,
    ) -> Result<Next<Req>, Stop>
    where
        M: Replay<Req, Saved = Saved>,
    {
        let local = matches!(verdict, Verdict::Rejected { .. });
        if let Verdict::Rejected { reason, .. } = verdict
            && reason != Reason::DeadlineExceeded
            && let Some((kind, since)) = self.charged.take()
        {
            // It did not get as far as the service.
            self.settings.budget.refund(kind, since);
        }
        let hint = self.hint(verdict)?;
        if !local {
            self.settings.budget.failed();
        }
        if gave_up {
            return Err(Stop::GaveUpBelow);
        }
        if hint == Some(Hint::Never) {
            return Err(Stop::Pushback);
        }
        if self.attempt.number() >= self.settings.attempts {
            return Err(Stop::AttemptsUsed);
        }
        let (_, saved) = self.spare.as_ref().ok_or(Stop::NotReplayable)?;
        let never_processed = local || verdict == Verdict::NeverProcessed;
        if !never_processed && !self.mode.repeatable(saved, answered) {
            return Err(Stop::NotIdempotent);
        }
        let at_once = verdict == Verdict::NeverProcessed && !self.free.never_processed;
        let delay = if at_once { self.none()? } else { self.delay(hint, local)? };
        let (_, saved) = self.spare.as_ref().ok_or(Stop::NotReplayable)?;
        let request = self.mode.again(saved, self.attempt.next()).ok_or(Stop::NotReplayable)?;
        let paid = match verdict {
            _ if at_once || local => Withdrawal::FREE,
            Verdict::TimedOut => self.settings.budget.withdraw(RetryKind::Timeout)?,
            _ => self.settings.budget.withdraw(RetryKind::Error)?,
        };
        self.free.never_processed |= at_once;
        self.free.rejected |= local;
        Ok(Next { request, paid, delay })
    }

    /// What the verdict says about the next attempt, if it leaves room for one.
    fn hint(&self, verdict: Verdict) -> Result<Option<Hint>, Stop> {
        match verdict {
            Verdict::Transient | Verdict::TimedOut | Verdict::NeverProcessed => Ok(None),
            Verdict::Throttled(hint) => Ok(hint),
            Verdict::Rejected { reason: Reason::DeadlineExceeded, .. } => Err(Stop::Deadline),
            Verdict::Rejected { retry_after: Some(delay), .. } if !self.free.rejected => {
                Ok(Some(Hint::After(delay)))
            }
            Verdict::Rejected { .. } => Err(Stop::Rejected),
            _ => Err(Stop::NotRetryable),
        }
    }

    /// No wait, if there is any time left.
    fn none(&self) -> Result<Duration, Stop> {
        match self.deadline {
            Some(deadline) if deadline.has_passed() => Err(Stop::Deadline),
            _ => Ok(Duration::ZERO),
        }
    }

    /// How long to wait, if an attempt after that can still end in time.
    fn delay(&mut self, hint: Option<Hint>, local: bool) -> Result<Duration, Stop> {
        let random = self.settings.state.random.draw();
        let computed = self.settings.backoff.next(&mut self.delays, random);
        let remaining = self.deadline.map(Deadline::remaining);
        let too_late = |delay| remaining.is_some_and(|remaining| delay >= remaining);
        let delay = match hint {
            Some(Hint::After(wanted)) if too_late(wanted) => {
                return Err(Stop::PushbackExceedsDeadline);
            }
            // What a layer below says is exact.
            Some(Hint::After(wanted)) if local => wanted,
            Some(Hint::After(wanted)) => {
                wanted.clamp(computed, computed.saturating_add(LONGEST_DETOUR))
            }
            _ => computed,
        };
        if too_late(delay) {
            return Err(Stop::Deadline);
        }
        if too_late(delay.saturating_add(self.settings.state.pace.usual())) {
            return Err(Stop::CannotFinish);
        }
        Ok(delay)
    }

    #[inline]
    fn succeed(&self) {
        if let Some(took) = self.began.took() {
            self.settings.state.pace.learn(took);
        }
        self.settings.budget.succeeded(self.charged.is_none());
    }

    fn stop(&self, why: Stop, verdict: Verdict) {
        if why.is_giving_up() && self.settings.attempts > 1 {
            GaveUp::mark();
        }
        if let Some(count) = self.settings.state.stopped(why) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let (instance, attempts) = (self.settings.origin.name(), self.attempt.number());
        let reason = why.as_str();
        tracing::debug!(name: "retry.stopped", target: "buttress", instance, reason, attempts, ?verdict);
    }
}

/// What may happen once without being paid for.
#[derive(Debug, Default)]
struct Free {
    never_processed: bool,
    rejected: bool,
}

/// How far a server's hint can move a delay from the one computed.
const LONGEST_DETOUR: Duration = Duration::from_secs(5);
