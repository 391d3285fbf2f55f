use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;

use super::{
    Call, Entry, FetchedOf, Plan, StoreFetch, VerdictSeed,
    oneshot::Oneshot,
    result::{DueEntry, Published},
};
use crate::cache::{Answer, Fetch};

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

/// The output of the work.
pub(crate) enum WorkOutput<C: Call> {
    /// A call was made.
    Made(Result<C::Response, C::Error>),
    /// The store has answered, and no call was made. Boxed, because the output of each call has this size.
    Answered(Box<Published<C>>),
}

/// What follows from the answer of a store.
pub(crate) type AnswerOf<C> = Answer<Entry<C>, StoreFetch<C>>;

impl<C: Call> Work<C> {
    pub(crate) const fn new(
        inner: C::Service,
        request: C::Request,
        info: WorkInfo<C>,
        fetch: Option<StoreFetch<C>>,
    ) -> Self {
        Self { info: Some(info), fetch, call: Oneshot::new(inner, request) }
    }

    /// Polls the work. `answer` decides what follows from the answer of the store, given whether the service
    /// was called already. `note_store_speed` is called with whether a store that the service did not wait for
    /// was slower than the service.
    #[inline]
    pub(crate) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        answer: impl Fn(&mut WorkInfo<C>, FetchedOf<C>, bool) -> AnswerOf<C>,
        note_store_speed: impl Fn(&WorkInfo<C>, bool),
    ) -> Poll<WorkOutput<C>> {
        let mut this = self.project();
        while let Some(mut fetch) = this.fetch.as_mut().as_pin_mut() {
            let Some(info) = this.info.as_mut() else { unreachable!("it ends once") };
            let Poll::Ready(fetched) = fetch.as_mut().poll(cx) else {
                ready!(fetch.poll_start(cx));
                let outcome = ready!(this.call.poll(cx));
                this.fetch.set(None);
                note_store_speed(info, true);
                return Poll::Ready(WorkOutput::Made(outcome));
            };
            let was_awaited = fetch.is_awaited();
            this.fetch.set(None);
            if !was_awaited {
                note_store_speed(info, false);
            }
            match answer(info, fetched, this.call.is_calling()) {
                Answer::Serve { entry, refresh } => {
                    let uncalled = if refresh { this.call.take_uncalled() } else { None };
                    let published = match uncalled {
                        Some(uncalled) => Published::Due(Box::new(DueEntry::new(entry, uncalled))),
                        None => Published::Cached(entry),
                    };
                    return Poll::Ready(WorkOutput::Answered(Box::new(published)));
                }
                Answer::Busy(time) => {
                    return Poll::Ready(WorkOutput::Answered(Box::new(Published::Busy(time))));
                }
                Answer::Again(mut again) => {
                    if !was_awaited {
                        again.hasten();
                    }
                    this.fetch.set(Some(again));
                }
                Answer::Call => break,
            }
        }
        this.call.poll(cx).map(WorkOutput::Made)
    }

    /// Takes the state captured from the request.
    #[inline]
    pub(crate) fn take_info(self: Pin<&mut Self>) -> Option<WorkInfo<C>> {
        self.project().info.take()
    }
}
