//! A layer that counts the calls which pass through, apart from the layers around it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use tower::{Layer, Service};

/// The calls that began, and how they ended.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    begun: AtomicU64,
    served: AtomicU64,
    /// Calls that ended with an error or a status from 400.
    failed: AtomicU64,
    dropped: AtomicU64,
}

/// The numbers of a [`Tally`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tallied {
    pub(crate) begun: u64,
    pub(crate) served: u64,
    pub(crate) failed: u64,
    pub(crate) dropped: u64,
}

impl Tally {
    pub(crate) fn counts(&self) -> Tallied {
        Tallied {
            begun: self.begun.load(Relaxed),
            served: self.served.load(Relaxed),
            failed: self.failed.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
        }
    }
}

/// A layer that counts in a [`Tally`].
#[derive(Clone, Debug, Default)]
pub(crate) struct TallyLayer(pub(crate) Arc<Tally>);

impl<S> Layer<S> for TallyLayer {
    type Service = TallyService<S>;

    fn layer(&self, inner: S) -> TallyService<S> {
        TallyService { inner, tally: Arc::clone(&self.0) }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct TallyService<S> {
    inner: S,
    tally: Arc<Tally>,
}

impl<S, Req, Res> Service<Request<Req>> for TallyService<S>
where
    S: Service<Request<Req>, Response = Response<Res>>,
{
    type Response = Response<Res>;
    type Error = S::Error;
    type Future = TalliedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Req>) -> Self::Future {
        self.tally.begun.fetch_add(1, Relaxed);
        let tally = Some(Arc::clone(&self.tally));
        TalliedFuture { future: Box::pin(self.inner.call(request)), tally }
    }
}

pub(crate) struct TalliedFuture<F> {
    future: Pin<Box<F>>,
    /// `None` once the call has ended.
    tally: Option<Arc<Tally>>,
}

impl<F, Res, E> Future for TalliedFuture<F>
where
    F: Future<Output = Result<Response<Res>, E>>,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let outcome = ready!(self.future.as_mut().poll(cx));
        let is_served = outcome.as_ref().is_ok_and(|response| response.status().as_u16() < 400);
        if let Some(tally) = self.tally.take() {
            let count = if is_served { &tally.served } else { &tally.failed };
            count.fetch_add(1, Relaxed);
        }
        Poll::Ready(outcome)
    }
}

impl<F> Drop for TalliedFuture<F> {
    fn drop(&mut self) {
        if let Some(tally) = &self.tally {
            tally.dropped.fetch_add(1, Relaxed);
        }
    }
}
