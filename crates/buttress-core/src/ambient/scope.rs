use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;

use crate::{Criticality, Deadline};

/// A future polled under a deadline or a criticality of its own. Made by [`Deadline::scope`],
/// [`Deadline::around`] and [`Criticality::around`].
#[derive(Clone, Debug)]
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct Scope<F> {
    values: ScopeValues,
    #[pin]
    future: F,
}

impl<F> Scope<F> {
    /// Everything that is ambient now and outlives an attempt.
    pub(crate) fn of_all(future: F) -> Self {
        Self { values: ScopeValues::All(Deadline::whole(), Criticality::current()), future }
    }

    pub(crate) const fn of_deadline(deadline: Option<Deadline>, future: F) -> Self {
        Self { values: ScopeValues::Deadline(deadline), future }
    }

    pub(crate) const fn of_criticality(criticality: Criticality, future: F) -> Self {
        Self { values: ScopeValues::Criticality(criticality), future }
    }
}

impl<F: Future> Future for Scope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.values.run(|| this.future.poll(cx))
    }
}

/// What is ambient inside. The rest is that of whoever polls.
#[derive(Clone, Copy, Debug)]
enum ScopeValues {
    Deadline(Option<Deadline>),
    Criticality(Criticality),
    All(Option<Deadline>, Criticality),
}

impl ScopeValues {
    fn run<R>(self, f: impl FnOnce() -> R) -> R {
        match self {
            Self::Deadline(deadline) => Deadline::with(deadline, f),
            Self::Criticality(criticality) => criticality.with(f),
            Self::All(deadline, criticality) => Deadline::with(deadline, || criticality.with(f)),
        }
    }
}
