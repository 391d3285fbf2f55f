use std::{
    pin::Pin,
    task::{Context, Poll},
};

use buttress_core::{Deadline, Enforcement, Extent, Rejection, Respond, SharedSettings};
use pin_project::pin_project;

use crate::{settings::Settings, timed_call::TimedCall};

/// A call, or the body of its response, whose deadline differs from the ambient deadline inside.
///
/// The deadline is only observed, or ends at the response head.
#[derive(Debug)]
pub(crate) struct ScopedCall {
    call: TimedCall,
    ambient: InnerAmbient,
}

/// The ambient deadlines inside a [`ScopedCall`].
#[derive(Clone, Copy, Debug)]
enum InnerAmbient {
    /// Those outside, because the call is only observed.
    Unchanged,
    /// The `inherited` deadline for the whole call, and a deadline that ends at the `head`.
    Deadlines { inherited: Option<Deadline>, head: Option<Deadline> },
}

impl ScopedCall {
    /// Creates a call from the layer's `own` and the `inherited` deadline.
    pub(crate) fn new(
        own: Option<Deadline>,
        inherited: Option<Deadline>,
        settings: &SharedSettings<Settings>,
    ) -> Self {
        let call = TimedCall::new(Deadline::earliest(own, inherited), settings.of_thread());
        let ambient = match settings.enforcement {
            Enforcement::Enforce => InnerAmbient::Deadlines { inherited, head: own },
            Enforcement::Observe => InnerAmbient::Unchanged,
        };
        Self { call, ambient }
    }

    pub(crate) fn rejection(&self) -> Rejection {
        self.call.rejection()
    }

    pub(crate) fn poll_cut(&mut self, cx: &mut Context<'_>, phase: &'static str) -> Poll<()> {
        self.call.poll_cut(cx, phase)
    }

    pub(crate) fn poll_stop(&mut self, phase: &'static str) -> Poll<()> {
        self.call.poll_stop(phase)
    }

    /// Runs `f` under the ambient deadlines inside.
    pub(crate) fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        match self.ambient {
            InnerAmbient::Unchanged => f(),
            InnerAmbient::Deadlines { inherited, head } => {
                // A head deadline outside may be earlier, and stays in force
                // (`Deadline::until_head`).
                let head = Deadline::earliest(head, Deadline::head());
                Deadline::with(inherited, || Deadline::with_head(head, f))
            }
        }
    }

    fn timed_out<Req, M, Res, E>(&self, mode: &M, error: &E) -> bool
    where
        M: Respond<Req, Res, E>,
    {
        let announced = match self.ambient {
            InnerAmbient::Unchanged => None,
            InnerAmbient::Deadlines { inherited, .. } => inherited,
        };
        self.call.timed_out(announced, mode, error)
    }

    /// Returns the rest for the body, after the head. `None` if no deadline is left.
    pub(crate) fn into_body(mut self) -> Option<Self> {
        if self.call.extent() == Extent::UntilHead {
            self.call.forget_deadline();
        }
        // The head has arrived. `DeadlineGuard::within` must not make its deadline ambient for the
        // body.
        if let InnerAmbient::Deadlines { head, .. } = &mut self.ambient {
            *head = None;
        }
        let is_ambient = matches!(self.ambient, InnerAmbient::Deadlines { inherited: Some(_), .. });
        (is_ambient || self.call.deadline().is_some()).then_some(self)
    }
}

/// A [`ScopedCall`] with the future of the inner service.
#[pin_project]
pub(crate) struct ScopedFuture<F> {
    #[pin]
    future: F,
    /// `None` once the call has ended, or was passed on with the response.
    scoped: Option<ScopedCall>,
}

impl<F> ScopedFuture<F> {
    pub(crate) fn new(future: F, scoped: ScopedCall) -> Self {
        Self { future, scoped: Some(scoped) }
    }

    /// Polls the inner call. When the call has ended, returns the [`ScopedCall`] with the outcome.
    /// The outcome is `None` if the call was cut off.
    pub(crate) fn poll<Req, M, Res, E>(
        self: Pin<&mut Self>,
        mode: &M,
        cx: &mut Context<'_>,
    ) -> Poll<(ScopedCall, Option<Result<Res, E>>)>
    where
        F: Future<Output = Result<Res, E>>,
        M: Respond<Req, Res, E>,
    {
        let this = self.project();
        // Put back only if the call is pending. If the inner call panics, `scoped` stays `None`,
        // and the broken future is not polled again.
        let Some(mut scoped) = this.scoped.take() else {
            unreachable!("polled after it had ended")
        };
        let outcome = match scoped.within(|| this.future.poll(cx)) {
            Poll::Ready(Ok(response)) if scoped.call.is_too_late(mode, &response) => None,
            Poll::Ready(Err(error)) if scoped.timed_out(mode, &error) => None,
            Poll::Ready(result) => Some(result),
            Poll::Pending if scoped.poll_cut(cx, "call").is_ready() => None,
            Poll::Pending => {
                *this.scoped = Some(scoped);
                return Poll::Pending;
            }
        };
        // The ended future stays in place. `ResponseFuture::poll_unusual` drops the future within
        // `scoped`, before the outcome is returned.
        Poll::Ready((scoped, outcome))
    }
}
