use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress::layer_api::BoxError;
use pin_project::pin_project;
use tower::Service;

/// A limiter as a service, as written by hand.
///
/// Each call acquires a permit first, and holds the permit until the call has completed.
#[derive(Clone, Debug)]
pub struct Acquire<S, A> {
    inner: S,
    acquire: A,
}

impl<S, A> Acquire<S, A> {
    /// Calls `inner` if `acquire` returns a permit, and rejects the call otherwise.
    pub const fn new(inner: S, acquire: A) -> Self {
        Self { inner, acquire }
    }
}

impl<S, A, P, Req> Service<Req> for Acquire<S, A>
where
    S: Service<Req, Error = BoxError>,
    A: Fn(&Req) -> Option<P>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = AcquireFuture<S::Future, P>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        match (self.acquire)(&request) {
            Some(permit) => {
                AcquireFuture::Running { future: self.inner.call(request), permit: Some(permit) }
            }
            None => AcquireFuture::Rejected,
        }
    }
}

/// The future of [`Acquire`].
#[pin_project(project = AcquireProjection)]
#[derive(Debug)]
pub enum AcquireFuture<F, P> {
    /// The call has a permit.
    Running {
        /// The inner call.
        #[pin]
        future: F,
        /// Dropped when the inner call completes.
        permit: Option<P>,
    },
    /// The call got no permit.
    Rejected,
}

impl<F, P, Res> Future for AcquireFuture<F, P>
where
    F: Future<Output = Result<Res, BoxError>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            AcquireProjection::Running { future, permit } => {
                let outcome = ready!(future.poll(cx));
                *permit = None;
                Poll::Ready(outcome)
            }
            AcquireProjection::Rejected => Poll::Ready(Err(BoxError::from("rejected"))),
        }
    }
}
