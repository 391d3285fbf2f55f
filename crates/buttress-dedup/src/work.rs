use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;

use crate::oneshot::Oneshot;

/// What a flight does: looks where answers are kept far away, if there is such a place, and calls the
/// service.
#[pin_project]
pub(crate) struct Work<S, Req, O, G>
where
    S: Service<Req>,
{
    /// What is remembered of the request, to keep the answer.
    order: Option<O>,
    #[pin]
    fetch: Option<G>,
    #[pin]
    call: Oneshot<S, Req>,
}

/// Where the answer comes from.
pub(crate) enum Found<Res, E, V> {
    Made(Result<Res, E>),
    Fetched(V),
}

impl<S: Service<Req>, Req, O, G> Work<S, Req, O, G> {
    pub(crate) const fn new(inner: S, request: Req, order: O, fetch: Option<G>) -> Self {
        Self { order: Some(order), fetch, call: Oneshot::new(inner, request) }
    }

    /// Polls it. `accept` says whether what was fetched will do.
    #[inline]
    pub(crate) fn poll<V>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        accept: impl FnOnce(&O, &V) -> bool,
    ) -> Poll<Found<S::Response, S::Error, V>>
    where
        G: Future<Output = Option<V>>,
    {
        let mut this = self.project();
        if let Some(fetch) = this.fetch.as_mut().as_pin_mut() {
            let fetched = ready!(fetch.poll(cx));
            this.fetch.set(None);
            let is_accepted =
                |value: &_| this.order.as_ref().is_some_and(|order| accept(order, value));
            if let Some(value) = fetched.filter(is_accepted) {
                return Poll::Ready(Found::Fetched(value));
            }
        }
        this.call.poll(cx).map(Found::Made)
    }

    /// Takes what was remembered.
    #[inline]
    pub(crate) fn order(self: Pin<&mut Self>) -> Option<O> {
        self.project().order.take()
    }
}
