use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress::layer_api::BoxError;
use pin_project::pin_project;
use tower::Service;

/// The service of a layer as one writes it by hand around a limiter: it asks before a call, and holds
/// what it was given until the call has ended.
#[derive(Clone, Debug)]
pub struct ByHand<S, A> {
    inner: S,
    ask: A,
}

impl<S, A> ByHand<S, A> {
    /// Calls go through to `inner` when `ask` gives something.
    pub const fn new(inner: S, ask: A) -> Self {
        Self { inner, ask }
    }
}

impl<S, A, P, Req> Service<Req> for ByHand<S, A>
where
    S: Service<Req, Error = BoxError>,
    A: Fn(&Req) -> Option<P>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Holding<S::Future, P>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        match (self.ask)(&request) {
            Some(permit) => {
                Holding::Running { future: self.inner.call(request), permit: Some(permit) }
            }
            None => Holding::Refused,
        }
    }
}

/// The future of [`ByHand`].
#[pin_project(project = Polled)]
#[derive(Debug)]
pub enum Holding<F, P> {
    /// Let through.
    Running {
        /// The call.
        #[pin]
        future: F,
        /// What the limiter gave.
        permit: Option<P>,
    },
    /// Not let through.
    Refused,
}

impl<F, P, Res> Future for Holding<F, P>
where
    F: Future<Output = Result<Res, BoxError>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            Polled::Running { future, permit } => {
                let outcome = ready!(future.poll(cx));
                *permit = None;
                Poll::Ready(outcome)
            }
            Polled::Refused => Poll::Ready(Err(BoxError::from("refused"))),
        }
    }
}
