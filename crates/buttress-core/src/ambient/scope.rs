use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;

use crate::{Criticality, Deadline};

/// A future that runs under a deadline or a criticality of its own.
///
/// Created by [`Deadline::scope`], [`Deadline::around`] and [`Criticality::around`].
#[derive(Clone, Debug)]
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct Scope<F> {
    values: ScopeValues,
    #[pin]
    future: F,
}

impl<F: Future> Future for Scope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        // Around each poll: between two polls the thread runs other calls, which must not see these
        // values.
        this.values.run(|| this.future.poll(cx))
    }
}

impl Deadline {
    /// Captures the ambient deadline of the [whole](Self::whole) call and the ambient
    /// [criticality](Criticality), and runs `future` under both on any thread.
    ///
    /// ```
    /// # use buttress_core::Deadline;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let limit = Deadline::after(std::time::Duration::from_secs(1));
    /// let seen = limit.around(async {
    ///     let inside = Deadline::scope(async { Deadline::current() });
    ///     tokio::spawn(inside).await.unwrap()
    /// });
    /// assert_eq!(seen.await, Some(limit));
    /// # }
    /// ```
    pub fn scope<F>(future: F) -> Scope<F> {
        // `whole` and not `current`: a deadline until the head would become part of `whole` inside,
        // and reach the wire (`Deadline::until_head`).
        let values = ScopeValues::All(Self::whole(), Criticality::current());
        Scope { values, future }
    }

    /// Runs `future` under this deadline, or under the ambient deadline if that is earlier. The
    /// criticality is that of the polling call.
    ///
    /// The scope does not cut the future off at the deadline. The layers inside do that.
    pub fn around<F>(self, future: F) -> Scope<F> {
        let values = ScopeValues::Deadline(Self::earliest(Some(self), Self::whole()));
        Scope { values, future }
    }
}

impl Criticality {
    /// Runs `future` under this criticality, and under the deadline of the polling call.
    ///
    /// ```
    /// # use buttress_core::Criticality;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let report = async { Criticality::current() };
    /// assert_eq!(Criticality::Sheddable.around(report).await, Criticality::Sheddable);
    /// assert_eq!(Criticality::current(), Criticality::Critical);
    /// # }
    /// ```
    pub fn around<F>(self, future: F) -> Scope<F> {
        Scope { values: ScopeValues::Criticality(self), future }
    }
}

/// The ambient values inside the scope. All others are those of the polling call.
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
