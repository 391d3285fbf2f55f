use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;

use crate::Deadline;

/// A future polled under a deadline of its own. Made by [`Deadline::scope`] and
/// [`Deadline::around`].
#[derive(Clone, Debug)]
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct Scope<F> {
    deadline: Option<Deadline>,
    #[pin]
    future: F,
}

impl<F> Scope<F> {
    pub(crate) const fn new(deadline: Option<Deadline>, future: F) -> Self {
        Self { deadline, future }
    }
}

impl<F: Future> Future for Scope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        Deadline::with(*this.deadline, || this.future.poll(cx))
    }
}
