use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use buttress_core::{Judge, MarkGaveUp, Propagate, Replay};
use pin_project::pin_project;
use tower_service::Service;

use crate::call::{FirstTry, FirstTryProjection, HedgedCall};

/// The future of [`Hedge`](crate::Hedge).
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct ResponseFuture<S, Req, M, J>
where
    S: Service<Req>,
    M: Replay<Req>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    #[pin]
    first: FirstTry<S::Future>,
    call: HedgedCall<S, Req, M, J>,
}

impl<S, Req, M, J> ResponseFuture<S, Req, M, J>
where
    S: Service<Req>,
    M: Replay<Req>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    #[inline]
    pub(crate) const fn new(future: S::Future, call: HedgedCall<S, Req, M, J>) -> Self {
        Self { first: FirstTry::Running(future), call }
    }
}

impl<S, Req, M, J> Future for ResponseFuture<S, Req, M, J>
where
    S: Service<Req> + Clone,
    M: Replay<Req> + Propagate<Req> + MarkGaveUp<S::Response>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.call.returns_first()
            && let FirstTryProjection::Running(future) = this.first.as_mut().project()
        {
            if let Poll::Ready(outcome) = future.poll(cx) {
                this.call.learn_alone(outcome.as_ref());
                return Poll::Ready(outcome);
            }
            if this.call.poll_due(cx).is_pending() {
                return Poll::Pending;
            }
            return this.call.poll_hedges(this.first, cx);
        }
        this.call.poll_tries(this.first, cx)
    }
}

impl<S, Req, M, J> fmt::Debug for ResponseFuture<S, Req, M, J>
where
    S: Service<Req>,
    M: Replay<Req>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
