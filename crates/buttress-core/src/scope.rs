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
    inside: Inside,
    #[pin]
    future: F,
}

impl<F> Scope<F> {
    /// Everything that is ambient now and outlives an attempt.
    pub(crate) fn of_all(future: F) -> Self {
        Self { inside: Inside::All(Inherited::now(), Criticality::current()), future }
    }

    pub(crate) fn of_deadline(own: Deadline, future: F) -> Self {
        Self { inside: Inside::Deadline(own, Inherited::now()), future }
    }

    pub(crate) const fn of_criticality(criticality: Criticality, future: F) -> Self {
        Self { inside: Inside::Criticality(criticality), future }
    }
}

impl<F: Future> Future for Scope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.inside.run(|| this.future.poll(cx))
    }
}

/// What is ambient inside. The rest is that of whoever polls.
#[derive(Clone, Copy, Debug)]
enum Inside {
    Deadline(Deadline, Inherited),
    Criticality(Criticality),
    All(Inherited, Criticality),
}

impl Inside {
    fn run<R>(self, f: impl FnOnce() -> R) -> R {
        match self {
            Self::Deadline(own, inherited) => {
                Deadline::with(Deadline::earliest(Some(own), inherited.here()), f)
            }
            Self::Criticality(criticality) => criticality.with(f),
            Self::All(inherited, criticality) => {
                Deadline::with(inherited.here(), || criticality.with(f))
            }
        }
    }
}

/// The deadline that was ambient where a future was made.
#[derive(Clone, Copy, Debug)]
struct Inherited(Option<Deadline>);

impl Inherited {
    fn now() -> Self {
        Self(Deadline::current())
    }

    /// What holds of it where the future is polled. The part that ends at the head must not get into
    /// a spawned task or into the body: it holds only where the same deadline is still ambient.
    fn here(self) -> Option<Deadline> {
        if Deadline::current() == self.0 { self.0 } else { self.0.and_then(Deadline::beyond_head) }
    }
}
