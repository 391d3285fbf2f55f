use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;

use super::oneshot::Oneshot;
use crate::cache::Fetch;

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
pub(crate) enum WorkOutput<Res, E, V> {
    Made(Result<Res, E>),
    Fetched(V),
}

impl<S: Service<Req>, Req, O, G> Work<S, Req, O, G> {
    pub(crate) const fn new(inner: S, request: Req, order: O, fetch: Option<G>) -> Self {
        Self { order: Some(order), fetch, call: Oneshot::new(inner, request) }
    }

    /// Polls it. `accept` says whether what was fetched will do, and `doubt` hears whether a store that
    /// was not waited for was slower than the service.
    #[inline]
    pub(crate) fn poll<V>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        accept: impl FnOnce(&O, &V) -> bool,
        doubt: impl FnOnce(&O, bool),
    ) -> Poll<WorkOutput<S::Response, S::Error, V>>
    where
        G: Fetch<Output = Option<V>>,
    {
        let mut this = self.project();
        let Some(mut fetch) = this.fetch.as_mut().as_pin_mut() else {
            return this.call.poll(cx).map(WorkOutput::Made);
        };
        let Some(order) = this.order.as_ref() else { unreachable!("it ends once") };
        match fetch.as_mut().poll(cx) {
            Poll::Ready(fetched) => {
                let was_awaited = fetch.is_awaited();
                this.fetch.set(None);
                if !was_awaited {
                    doubt(order, false);
                }
                if let Some(value) = fetched.filter(|value| accept(order, value)) {
                    return Poll::Ready(WorkOutput::Fetched(value));
                }
                this.call.poll(cx).map(WorkOutput::Made)
            }
            Poll::Pending => {
                ready!(fetch.poll_start(cx));
                let outcome = ready!(this.call.poll(cx));
                this.fetch.set(None);
                doubt(order, true);
                Poll::Ready(WorkOutput::Made(outcome))
            }
        }
    }

    /// Takes what was remembered.
    #[inline]
    pub(crate) fn order(self: Pin<&mut Self>) -> Option<O> {
        self.project().order.take()
    }
}
