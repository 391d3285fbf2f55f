use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;

/// A call of a service: waits for readiness, then calls.
#[pin_project(project = StageProj, project_replace = StageOwn)]
pub(crate) enum Oneshot<S, Req>
where
    S: Service<Req>,
{
    Readying { inner: S, request: Req },
    Calling(#[pin] S::Future),
    Ended,
}

impl<S: Service<Req>, Req> Oneshot<S, Req> {
    pub(crate) const fn new(inner: S, request: Req) -> Self {
        Self::Readying { inner, request }
    }
}

impl<S: Service<Req>, Req> Oneshot<S, Req> {
    /// Whether the service was called.
    pub(crate) const fn is_calling(&self) -> bool {
        !matches!(self, Self::Readying { .. })
    }

    /// Takes the service and the request, if the service was not called. There is no call then.
    pub(crate) fn take_uncalled(mut self: Pin<&mut Self>) -> Option<(S, Req)> {
        if self.is_calling() {
            return None;
        }
        match self.as_mut().project_replace(Self::Ended) {
            StageOwn::Readying { inner, request } => Some((inner, request)),
            StageOwn::Calling(_) | StageOwn::Ended => None,
        }
    }
}

impl<S: Service<Req>, Req> Future for Oneshot<S, Req> {
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let StageProj::Readying { inner, .. } = self.as_mut().project() {
            if let Err(error) = ready!(inner.poll_ready(cx)) {
                self.set(Self::Ended);
                return Poll::Ready(Err(error));
            }
            if let StageOwn::Readying { mut inner, request } =
                self.as_mut().project_replace(Self::Ended)
            {
                // The clone that became ready is the one that is called.
                let future = inner.call(request);
                self.set(Self::Calling(future));
            }
        }
        let StageProj::Calling(future) = self.as_mut().project() else {
            unreachable!("polled after it ended")
        };
        let outcome = ready!(future.poll(cx));
        // The future is dropped before the outcome is returned, so that its permits are free when a caller
        // sees the outcome.
        self.set(Self::Ended);
        Poll::Ready(outcome)
    }
}
