use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use buttress_core::{Signals, Verdict};
use pin_project::pin_project;

use crate::{
    first_outcome::{FirstOutcome, raise},
    settings::{Failure, Settings},
};

/// The first outcome of a call while the alternative service runs.
#[pin_project]
pub(crate) struct HeldOutcome<Res, E, W> {
    // Declared before `first`: if the call is dropped, the alternative is cancelled first.
    #[pin]
    work: W,
    first: Option<FirstOutcome<Res, E>>,
}

impl<Res, E, W> HeldOutcome<Res, E, W> {
    pub(crate) const fn new(first: FirstOutcome<Res, E>, work: W) -> Self {
        Self { work, first: Some(first) }
    }

    /// Returns the first outcome, once.
    pub(crate) fn take_first(self: Pin<&mut Self>) -> Option<FirstOutcome<Res, E>> {
        self.project().first.take()
    }

    /// Polls the alternative. Returns its answer, or why there is none, and the signals of the last
    /// poll.
    pub(crate) fn poll_work<Other>(
        self: Pin<&mut Self>,
        settings: &Settings,
        cx: &mut Context<'_>,
    ) -> Poll<(Result<Other, Failure>, Signals)>
    where
        W: Future<Output = Result<(Other, Verdict), Failure>>,
    {
        let (polled, signals) = Signals::watch(|| self.project().work.poll(cx));
        let Poll::Ready(ended) = polled else {
            raise(signals);
            return Poll::Pending;
        };
        let answer = ended.and_then(|(response, verdict)| {
            if settings.is_answer(verdict) { Ok(response) } else { Err(Failure::Outcome(verdict)) }
        });
        Poll::Ready((answer, signals))
    }
}
