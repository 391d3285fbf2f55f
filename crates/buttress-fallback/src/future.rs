use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::{Attempt, Blend, Judge, Signals};
use pin_project::pin_project;
use tower_service::Service;

use crate::{
    alternative::{Alternative, Begun, FailedCall},
    aside::{Aside, Kept},
    call_parts::CallParts,
    first_outcome::{FirstOutcome, raise},
    held_outcome::HeldOutcome,
};

/// The future of [`Fallback`](crate::Fallback).
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct ResponseFuture<S, Req, M, A, J>
where
    S: Service<Req>,
    A: Alternative<M, J, Req, S::Response, S::Error>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    /// The call of the inner service. `None` before it begins under `await_ready`, and once its
    /// outcome is to be replaced.
    #[pin]
    first: Option<S::Future>,
    aside: Aside<S, Req, A::Work>,
    parts: CallParts<M, J, J::Seed, A::Prepared>,
}

impl<S, Req, M, A, J> ResponseFuture<S, Req, M, A, J>
where
    S: Service<Req>,
    A: Alternative<M, J, Req, S::Response, S::Error>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    #[inline]
    pub(crate) const fn new(
        first: Option<S::Future>,
        aside: Aside<S, Req, A::Work>,
        parts: CallParts<M, J, J::Seed, A::Prepared>,
    ) -> Self {
        Self { first, aside, parts }
    }
}

impl<S, Req, M, A, J> Future for ResponseFuture<S, Req, M, A, J>
where
    S: Service<Req>,
    A: Alternative<M, J, Req, S::Response, S::Error>,
    J: Judge<M, Req, S::Response, S::Error>,
    M: Blend<S::Response, A::Response>,
{
    type Output = Result<M::Response, S::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if Signals::any_raised() {
            return self.poll_unusual(cx);
        }
        let this = self.as_mut().project();
        let Some(future) = this.first.as_pin_mut() else { return self.poll_unusual(cx) };
        let Poll::Ready(outcome) = future.poll(cx) else { return Poll::Pending };
        if let Some(verdict) = this.parts.to_replace(&outcome) {
            let first = FirstOutcome { outcome, verdict, signals: Signals::take() };
            return self.replace(first, cx);
        }
        Poll::Ready(outcome.map(|response| this.parts.mode.own(response)))
    }
}

impl<S, Req, M, A, J> ResponseFuture<S, Req, M, A, J>
where
    S: Service<Req>,
    A: Alternative<M, J, Req, S::Response, S::Error>,
    J: Judge<M, Req, S::Response, S::Error>,
    M: Blend<S::Response, A::Response>,
{
    /// Polls a call that waits for readiness or for the alternative, or polls among the signals of
    /// other calls.
    #[cold]
    fn poll_unusual(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<M::Response, S::Error>> {
        if let Some(Kept::Held(_)) = self.as_mut().project().aside.get() {
            return self.poll_held(cx);
        }
        let ((polled, verdict), signals) = Signals::watch(|| {
            let polled = self.as_mut().poll_first(cx);
            let verdict = match &polled {
                Poll::Ready(outcome) => self.parts.to_replace(outcome),
                Poll::Pending => None,
            };
            (polled, verdict)
        });
        match (polled, verdict) {
            (Poll::Ready(outcome), Some(verdict)) => {
                self.replace(FirstOutcome { outcome, verdict, signals }, cx)
            }
            (polled, _) => {
                raise(signals);
                polled.map_ok(|response| self.parts.mode.own(response))
            }
        }
    }

    /// Polls the call of the inner service, which begins once the service is ready.
    fn poll_first(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, S::Error>> {
        let mut this = self.project();
        if let Some(Kept::Readying(waiting)) = this.aside.get() {
            if let Err(error) = ready!(waiting.0.poll_ready(cx)) {
                // An instance that failed must not be polled again.
                *this.aside = Aside::NOTHING;
                return Poll::Ready(Err(error));
            }
            let Some(Kept::Readying(waiting)) = this.aside.take() else {
                unreachable!("it waits until here")
            };
            let (mut service, request) = *waiting;
            // The instance that is ready is called.
            this.first.set(Some(service.call(request)));
        }
        match this.first.as_pin_mut() {
            Some(future) => future.poll(cx),
            None => unreachable!("polled after it had ended"),
        }
    }

    /// Replaces an outcome, now or once the alternative service has answered.
    #[cold]
    fn replace(
        mut self: Pin<&mut Self>,
        first: FirstOutcome<S::Response, S::Error>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<M::Response, S::Error>> {
        let mut this = self.as_mut().project();
        let CallParts { settings, mode, judge, prepared, .. } = this.parts;
        if Attempt::current().is_spare() {
            // To the hedge outside, an answer would win over the try that is still running.
            return Poll::Ready(first.pass(mode));
        }
        if settings.is_observing() {
            settings.answered(first.verdict, A::SOURCE);
            return Poll::Ready(first.pass(mode));
        }
        // Must run before the fallback begins: the inner call may hold a permit or a connection.
        this.first.set(None);
        let call = FailedCall { settings, mode, judge, verdict: first.verdict };
        let none = Signals::default();
        match A::begin(prepared, call, first.outcome.as_ref()) {
            Begun::Answered(answer) => {
                Poll::Ready(Ok(first.answered(answer, A::SOURCE, none, (settings, mode))))
            }
            Begun::Failed(failure) => Poll::Ready(first.failed(failure, none, (settings, mode))),
            Begun::Running(work) => {
                // Boxed, so that a call that succeeds has no room for the alternative.
                let held = Box::pin(HeldOutcome::new(first, work));
                *this.aside = Aside::new(Kept::Held(held));
                self.poll_held(cx)
            }
        }
    }

    /// Polls the alternative service while the first outcome is held.
    #[cold]
    fn poll_held(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<M::Response, S::Error>> {
        let this = self.project();
        let (settings, mode) = (&*this.parts.settings, &this.parts.mode);
        let Some(Kept::Held(held)) = this.aside.get() else { unreachable!("held until here") };
        let (answer, signals) = ready!(held.as_mut().poll_work(settings, cx));
        let Some(first) = held.as_mut().take_first() else { unreachable!("taken only once") };
        // Must run before the answer is returned, so that the place under `at_most` is free then.
        *this.aside = Aside::NOTHING;
        Poll::Ready(match answer {
            Ok(answer) => Ok(first.answered(answer, A::SOURCE, signals, (settings, mode))),
            Err(failure) => first.failed(failure, signals, (settings, mode)),
        })
    }
}

impl<S, Req, M, A, J> fmt::Debug for ResponseFuture<S, Req, M, A, J>
where
    S: Service<Req>,
    A: Alternative<M, J, Req, S::Response, S::Error>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
