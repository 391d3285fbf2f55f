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
    call_parts::CallParts,
    first_outcome::FirstOutcome,
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
    #[pin]
    state: CallState<S, Req, A::Work>,
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
        state: CallState<S, Req, A::Work>,
        parts: CallParts<M, J, J::Seed, A::Prepared>,
    ) -> Self {
        Self { state, parts }
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
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (polled, replaced) = match this.state.as_mut().project() {
            Polled::Calling { future } => this.parts.watch(|| future.poll(cx)),
            Polled::Held(_) => return Self::poll_held(this.state, this.parts, cx),
            _ => this.parts.watch(|| this.state.as_mut().poll_from_readiness(cx)),
        };
        let outcome = ready!(polled);
        let Some((verdict, signals)) = replaced else {
            return Poll::Ready(outcome.map(|response| this.parts.mode.own(response)));
        };
        let first = FirstOutcome { outcome, verdict, signals };
        Self::replace(this.state, this.parts, first, cx)
    }
}

impl<S, Req, M, A, J> ResponseFuture<S, Req, M, A, J>
where
    S: Service<Req>,
    A: Alternative<M, J, Req, S::Response, S::Error>,
    J: Judge<M, Req, S::Response, S::Error>,
    M: Blend<S::Response, A::Response>,
{
    /// Replaces an outcome, now or once the alternative service has answered.
    #[cold]
    fn replace(
        mut state: Pin<&mut CallState<S, Req, A::Work>>,
        parts: &mut CallParts<M, J, J::Seed, A::Prepared>,
        first: FirstOutcome<S::Response, S::Error>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<M::Response, S::Error>> {
        let CallParts { settings, mode, judge, prepared, .. } = parts;
        if Attempt::current().is_spare() {
            // To the hedge outside, an answer would win over the try that is still running.
            return Poll::Ready(first.pass(mode));
        }
        if settings.is_observing() {
            settings.answered(first.verdict, A::SOURCE);
            return Poll::Ready(first.pass(mode));
        }
        // Must run before the fallback begins: the inner call may hold a permit or a connection.
        state.set(CallState::Ended);
        let call = FailedCall { settings, mode, judge, verdict: first.verdict };
        let none = Signals::default();
        match A::begin(prepared, call, first.outcome.as_ref()) {
            Begun::Answered(answer) => {
                Poll::Ready(Ok(first.answered(answer, A::SOURCE, none, (settings, mode))))
            }
            Begun::Failed(failure) => Poll::Ready(first.failed(failure, none, (settings, mode))),
            Begun::Running(work) => {
                state.set(CallState::Held(Box::pin(HeldOutcome::new(first, work))));
                Self::poll_held(state, parts, cx)
            }
        }
    }

    /// Polls the alternative service while the first outcome is held.
    #[cold]
    fn poll_held(
        mut state: Pin<&mut CallState<S, Req, A::Work>>,
        parts: &CallParts<M, J, J::Seed, A::Prepared>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<M::Response, S::Error>> {
        let (settings, mode) = (&*parts.settings, &parts.mode);
        let Polled::Held(held) = state.as_mut().project() else { unreachable!("held until here") };
        let (answer, signals) = ready!(held.as_mut().poll_work(settings, cx));
        let Some(first) = held.as_mut().take_first() else { unreachable!("taken only once") };
        // Must run before the answer is returned, so that the place under `at_most` is free then.
        state.set(CallState::Ended);
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

#[pin_project(project = Polled, project_replace = Last)]
pub(crate) enum CallState<S: Service<Req>, Req, W> {
    /// Waits for readiness, under `await_ready`. Boxed, so that the usual call has no room for the
    /// request.
    Readying(Box<(S, Req)>),
    Calling {
        #[pin]
        future: S::Future,
    },
    /// Boxed, so that a call that succeeds has no room for the alternative.
    Held(Pin<Box<HeldOf<S, Req, W>>>),
    Ended,
}

impl<S: Service<Req>, Req, W> CallState<S, Req, W> {
    /// Polls a call that waits for readiness, and makes the call once the service is ready.
    #[cold]
    fn poll_from_readiness(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, S::Error>> {
        let Polled::Readying(waiting) = self.as_mut().project() else {
            unreachable!("polled after it had ended")
        };
        if let Err(error) = ready!(waiting.0.poll_ready(cx)) {
            // An instance that failed must not be polled again.
            self.set(Self::Ended);
            return Poll::Ready(Err(error));
        }
        let Last::Readying(waiting) = self.as_mut().project_replace(Self::Ended) else {
            unreachable!("it waits until here")
        };
        let (mut service, request) = *waiting;
        // The instance that is ready is called.
        self.set(Self::Calling { future: service.call(request) });
        match self.as_mut().project() {
            Polled::Calling { future } => future.poll(cx),
            _ => unreachable!("set above"),
        }
    }
}

type HeldOf<S, Req, W> = HeldOutcome<<S as Service<Req>>::Response, <S as Service<Req>>::Error, W>;
