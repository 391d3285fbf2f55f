use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::Deadline;
use pin_project::pin_project;
use tokio::{
    runtime::Handle,
    time::{Sleep, sleep},
};
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
    /// The deadline of the first caller as it came with the request, if a layer inside goes by that.
    announced: Option<Deadline>,
    #[pin]
    fetch: Option<G>,
    pace: Pace,
    #[pin]
    call: Oneshot<S, Req>,
}

/// When the service is called while a store is read.
enum Pace {
    /// After that.
    After,
    /// At this moment, if the store has not answered by then.
    At(Pin<Box<Sleep>>),
    /// Meanwhile.
    Beside,
}

/// Where the answer comes from.
pub(crate) enum Found<Res, E, V> {
    Made(Result<Res, E>),
    Fetched(V),
}

impl<S: Service<Req>, Req, O, G> Work<S, Req, O, G> {
    pub(crate) fn new(inner: S, request: Req, order: O, fetch: Option<G>) -> Self {
        let call = Oneshot::new(inner, request);
        Self { order: Some(order), announced: None, fetch, pace: Pace::After, call }
    }

    /// Does not wait for a store that may hang: it has a head start, no more.
    #[cold]
    pub(crate) fn hasten(self) -> Self {
        let timed = self.fetch.is_some() && Handle::try_current().is_ok();
        let pace = if timed { Pace::At(Box::pin(sleep(HEAD_START))) } else { Pace::Beside };
        Self { pace, ..self }
    }

    /// Polls it. `accept` says whether what was fetched will do, and `doubt` hears whether a store that
    /// was not waited for was slower than the service.
    #[inline]
    pub(crate) fn poll<V>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        accept: impl FnOnce(&O, &V) -> bool,
        doubt: impl FnOnce(&O, bool),
    ) -> Poll<Found<S::Response, S::Error, V>>
    where
        G: Future<Output = Option<V>>,
    {
        let mut this = self.project();
        let Some(fetch) = this.fetch.as_mut().as_pin_mut() else {
            return this.call.poll(cx).map(Found::Made);
        };
        let Some(order) = this.order.as_ref() else { unreachable!("it ends once") };
        match fetch.poll(cx) {
            Poll::Ready(fetched) => {
                this.fetch.set(None);
                if !matches!(this.pace, Pace::After) {
                    doubt(order, false);
                }
                if let Some(value) = fetched.filter(|value| accept(order, value)) {
                    return Poll::Ready(Found::Fetched(value));
                }
                this.call.poll(cx).map(Found::Made)
            }
            Poll::Pending => {
                ready!(this.pace.poll(cx));
                let outcome = ready!(this.call.poll(cx));
                this.fetch.set(None);
                doubt(order, true);
                Poll::Ready(Found::Made(outcome))
            }
        }
    }

    /// Hears whether a layer inside goes by what was announced of the `deadline` it was polled under.
    #[inline]
    pub(crate) fn hear(self: Pin<&mut Self>, deadline: Option<Deadline>) {
        if let Some(announced) = deadline.and_then(Deadline::announced) {
            let known = self.project().announced;
            *known = Deadline::earliest(*known, Some(announced));
        }
    }

    /// Takes what was remembered, and what was announced.
    #[inline]
    pub(crate) fn order(self: Pin<&mut Self>) -> Option<(O, Option<Deadline>)> {
        let this = self.project();
        Some((this.order.take()?, *this.announced))
    }
}

impl Pace {
    /// Ready when the service is to be called though the store has not answered.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::After => return Poll::Pending,
            Self::At(sleep) => ready!(sleep.as_mut().poll(cx)),
            Self::Beside => {}
        }
        *self = Self::Beside;
        Poll::Ready(())
    }
}

/// How long a store that is in doubt is waited for.
const HEAD_START: Duration = Duration::from_millis(10);
