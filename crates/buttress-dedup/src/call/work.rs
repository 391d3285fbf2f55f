use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;

use super::{Call, Entry, Plan, StoreFetch, VerdictSeed, oneshot::Oneshot};
use crate::cache::{Fetch, Fetched};

/// The work of a flight: reads the remote store, if any, and calls the service.
#[pin_project]
pub(crate) struct Work<C: Call> {
    /// The state captured from the request. Taken once, when the work ends.
    info: Option<WorkInfo<C>>,
    #[pin]
    fetch: Option<StoreFetch<C>>,
    #[pin]
    call: Oneshot<C::Service, C::Request>,
}

/// The state captured from a request: for the cache, for the classification, and the resource that the
/// request changes.
pub(crate) type WorkInfo<C> = (Plan<C>, VerdictSeed<C>, Option<u64>);

/// The output of the work: a call was made, or the store had an entry.
pub(crate) enum WorkOutput<C: Call> {
    Made(Result<C::Response, C::Error>),
    Fetched(Entry<C>),
}

impl<C: Call> Work<C> {
    pub(crate) const fn new(
        inner: C::Service,
        request: C::Request,
        info: WorkInfo<C>,
        fetch: Option<StoreFetch<C>>,
    ) -> Self {
        Self { info: Some(info), fetch, call: Oneshot::new(inner, request) }
    }

    /// Polls the work. `accept` decides whether the entry of the store can be used. `note_store_speed` is
    /// called with whether a store that the service did not wait for was slower than the service.
    #[inline]
    pub(crate) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        accept: impl FnOnce(&WorkInfo<C>, &Entry<C>) -> bool,
        note_store_speed: impl FnOnce(&WorkInfo<C>, bool),
    ) -> Poll<WorkOutput<C>> {
        let mut this = self.project();
        let Some(mut fetch) = this.fetch.as_mut().as_pin_mut() else {
            return this.call.poll(cx).map(WorkOutput::Made);
        };
        let Some(info) = this.info.as_ref() else { unreachable!("it ends once") };
        match fetch.as_mut().poll(cx) {
            Poll::Ready(fetched) => {
                let was_awaited = fetch.is_awaited();
                this.fetch.set(None);
                if !was_awaited {
                    note_store_speed(info, false);
                }
                if let Fetched::Hit(value) = fetched
                    && accept(info, &value)
                {
                    return Poll::Ready(WorkOutput::Fetched(value));
                }
                this.call.poll(cx).map(WorkOutput::Made)
            }
            Poll::Pending => {
                ready!(fetch.poll_start(cx));
                let outcome = ready!(this.call.poll(cx));
                this.fetch.set(None);
                note_store_speed(info, true);
                Poll::Ready(WorkOutput::Made(outcome))
            }
        }
    }

    /// Takes the state captured from the request.
    #[inline]
    pub(crate) fn take_info(self: Pin<&mut Self>) -> Option<WorkInfo<C>> {
        self.project().info.take()
    }
}
