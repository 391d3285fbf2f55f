use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::{Deadline, Rejection, Respond};
use pin_project::pin_project;

use crate::{DeadlineGuard, scoped_call::ScopedFuture, timed_call::TimedCall};

/// The future of [`DeadlineService`](crate::DeadlineService).
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct ResponseFuture<F, Req, M, Seed> {
    /// `Some` for a [`CallState::Timed`] call. `None` once the call was rejected or cut off.
    #[pin]
    future: Option<F>,
    call: CallState<F>,
    /// `None` once the call has ended.
    seed: Option<Seed>,
    mode: M,
    request: PhantomData<fn(Req)>,
}

enum CallState<F> {
    /// The usual call, whose deadline is ambient inside.
    Timed(TimedCall),
    /// A call under `until_head` or `observe`. Boxed, so that the usual call has no room for the
    /// parts. `None` once the call has ended, or was passed on with the response.
    Scoped(Option<Pin<Box<ScopedFuture<F>>>>),
}

impl<F> CallState<F> {
    /// Takes the usual call out, for the guard of the body. The inner future stays in place until
    /// the whole response future is dropped, and the guard outlives both.
    #[inline]
    fn take(&mut self) -> Option<TimedCall> {
        match mem::replace(self, Self::Scoped(None)) {
            Self::Timed(call) => Some(call),
            Self::Scoped(_) => None,
        }
    }
}

impl<F, Req, M, Seed> ResponseFuture<F, Req, M, Seed> {
    #[inline]
    pub(crate) fn timed(future: F, call: TimedCall, seed: Seed, mode: M) -> Self {
        Self::new(Some(future), CallState::Timed(call), seed, mode)
    }

    #[inline]
    pub(crate) fn scoped(call: Pin<Box<ScopedFuture<F>>>, seed: Seed, mode: M) -> Self {
        Self::new(None, CallState::Scoped(Some(call)), seed, mode)
    }

    #[inline]
    pub(crate) fn rejected(call: TimedCall, seed: Seed, mode: M) -> Self {
        Self::new(None, CallState::Timed(call), seed, mode)
    }

    #[inline]
    fn new(future: Option<F>, call: CallState<F>, seed: Seed, mode: M) -> Self {
        Self { future, call, seed: Some(seed), mode, request: PhantomData }
    }
}

impl<F, Req, M, Res, E> Future for ResponseFuture<F, Req, M, <M as Respond<Req, Res, E>>::Seed>
where
    F: Future<Output = Result<Res, E>>,
    M: Respond<Req, Res, E>,
{
    type Output = Result<M::Response<DeadlineGuard>, E>;

    #[expect(
        clippy::inline_always,
        reason = "a call that is pending once is a twentieth cheaper in its caller"
    )]
    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (Some(future), CallState::Timed(call)) =
            (this.future.as_mut().as_pin_mut(), &mut *this.call)
        else {
            return Self::poll_unusual(this.mode, this.call, this.seed, cx);
        };
        let polled = Deadline::with(call.deadline(), || future.poll(cx));
        // Looked at in place, and moved once: a response is large.
        let is_late = match &polled {
            Poll::Ready(Ok(response)) => call.is_too_late(this.mode, response),
            Poll::Ready(Err(error)) => call.timed_out(call.deadline(), this.mode, error),
            Poll::Pending => {
                ready!(call.poll_cut(cx, "call"));
                // Must run before the rejection is returned: the inner future may hold a permit or
                // a connection. It is dropped under the deadline of the call, so that a layer
                // inside can tell a timeout from a caller that leaves.
                Deadline::with(call.deadline(), || this.future.set(None));
                true
            }
        };
        if is_late {
            drop(polled);
            return Poll::Ready(Self::reject(this.mode, call.rejection(), this.seed));
        }
        let is_guarded = M::KEEPS_GUARD && call.deadline().is_some();
        polled.map_ok(|response| {
            let Some(seed) = this.seed.take() else { unreachable!("it has a seed until here") };
            let guard = if is_guarded { this.call.take().map(DeadlineGuard::new) } else { None };
            this.mode.admit(seed, response, guard)
        })
    }
}

impl<F, Req, M, Res, E> ResponseFuture<F, Req, M, <M as Respond<Req, Res, E>>::Seed>
where
    F: Future<Output = Result<Res, E>>,
    M: Respond<Req, Res, E>,
{
    /// Polls a call that was rejected before it began, or a [`ScopedFuture`].
    #[cold]
    #[inline(never)]
    fn poll_unusual(
        mode: &M,
        call: &mut CallState<F>,
        seed: &mut Option<M::Seed>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<M::Response<DeadlineGuard>, E>> {
        let running = match call {
            CallState::Timed(call) => {
                return Poll::Ready(Self::reject(mode, call.rejection(), seed));
            }
            CallState::Scoped(Some(running)) => running,
            CallState::Scoped(None) => unreachable!("polled after it had ended"),
        };
        let (scoped, outcome) = ready!(running.as_mut().poll(mode, cx));
        // Must run before the outcome is returned, as in `poll`. The inner future is dropped under
        // the ambient deadlines of its call.
        scoped.within(|| *call = CallState::Scoped(None));
        let Some(outcome) = outcome else {
            return Poll::Ready(Self::reject(mode, scoped.rejection(), seed));
        };
        let Some(seed) = seed.take() else { unreachable!("it has a seed until here") };
        let guard = scoped.into_body().filter(|_| M::KEEPS_GUARD).map(DeadlineGuard::scoped);
        Poll::Ready(outcome.map(|response| mode.admit(seed, response, guard)))
    }

    #[cold]
    fn reject(
        mode: &M,
        why: Rejection,
        seed: &mut Option<M::Seed>,
    ) -> Result<M::Response<DeadlineGuard>, E> {
        let Some(seed) = seed.take() else { unreachable!("polled after it had ended") };
        mode.reject(seed, why)
    }
}

impl<F, Req, M, Seed> fmt::Debug for ResponseFuture<F, Req, M, Seed> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
