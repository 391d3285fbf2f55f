use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{Deadline, Rejection, Respond};
use pin_project::pin_project;

use crate::{
    DeadlineGuard,
    settings::{Enforcement, Extent, Settings},
    timers::Timer,
};

/// The future of [`DeadlineService`](crate::DeadlineService).
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct ResponseFuture<F, Req, M, Seed> {
    /// `None` for a call that is rejected, and once it has ended.
    #[pin]
    future: Option<F>,
    /// `None` once it has ended.
    rest: Option<(Call, Seed)>,
    mode: M,
    request: PhantomData<fn(Req)>,
}

impl<F, Req, M, Seed> ResponseFuture<F, Req, M, Seed> {
    #[inline]
    pub(crate) fn running(
        future: F,
        deadline: Option<Deadline>,
        seed: Seed,
        mode: M,
        settings: &Arc<Settings>,
    ) -> Self {
        Self::new(Some(future), deadline, seed, mode, settings)
    }

    pub(crate) fn rejected(
        deadline: Deadline,
        seed: Seed,
        mode: M,
        settings: &Arc<Settings>,
    ) -> Self {
        Self::new(None, Some(deadline), seed, mode, settings)
    }

    #[inline]
    fn new(
        future: Option<F>,
        deadline: Option<Deadline>,
        seed: Seed,
        mode: M,
        settings: &Arc<Settings>,
    ) -> Self {
        let call = Call { deadline, timer: Timer::new(), settings: Arc::clone(settings) };
        Self { future, rest: Some((call, seed)), mode, request: PhantomData }
    }
}

impl<F, Req, M, Res, E> Future for ResponseFuture<F, Req, M, <M as Respond<Req, Res, E>>::Seed>
where
    F: Future<Output = Result<Res, E>>,
    M: Respond<Req, Res, E>,
{
    type Output = Result<M::Response<DeadlineGuard>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some((call, _)) = this.rest else { unreachable!("polled after it had ended") };
        let outcome = match this.future.as_mut().as_pin_mut() {
            Some(future) => match Deadline::with(call.deadline, || future.poll(cx)) {
                Poll::Ready(outcome) => Some(outcome),
                Poll::Pending => {
                    ready!(call.poll_cut(cx, "call"));
                    None
                }
            },
            None => None,
        };
        // The call is dropped here, before anybody hears of its end.
        this.future.set(None);
        let Some((call, seed)) = this.rest.take() else { unreachable!("it was looked at above") };
        Poll::Ready(match outcome {
            Some(Ok(response)) => Ok(call.admit(this.mode, seed, response)),
            Some(Err(error)) => call.fail(this.mode, seed, error),
            None => this.mode.reject(seed, call.rejection()),
        })
    }
}

impl<F, Req, M, Seed> fmt::Debug for ResponseFuture<F, Req, M, Seed> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// A call, or the body of its response, under its deadline.
#[derive(Debug)]
pub(crate) struct Call {
    deadline: Option<Deadline>,
    timer: Timer,
    settings: Arc<Settings>,
}

impl Call {
    pub(crate) const fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    #[cold]
    pub(crate) fn rejection(&self) -> Rejection {
        self.settings.rejection(self.deadline)
    }

    /// Ready when the call must be cut off. Poll it only when there is nothing to hand on.
    pub(crate) fn poll_cut(&mut self, cx: &mut Context<'_>, phase: &'static str) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        ready!(self.timer.poll(cx, deadline, &self.settings.state.timers));
        match self.settings.exceeded(phase) {
            Enforcement::Reject => Poll::Ready(()),
            Enforcement::Observe => {
                self.timer.disarm();
                Poll::Pending
            }
        }
    }

    #[inline]
    fn admit<Req, M, Res, E>(
        self,
        mode: &M,
        seed: M::Seed,
        response: Res,
    ) -> M::Response<DeadlineGuard>
    where
        M: Respond<Req, Res, E>,
    {
        let guarded = self.deadline.is_some() && self.settings.extent == Extent::Body;
        mode.admit(seed, response, guarded.then(|| DeadlineGuard::new(self)))
    }

    fn fail<Req, M, Res, E>(
        self,
        mode: &M,
        seed: M::Seed,
        error: E,
    ) -> Result<M::Response<DeadlineGuard>, E>
    where
        M: Respond<Req, Res, E>,
    {
        match self.deadline {
            // A timer further in was told of this deadline and fired first: one verdict.
            Some(deadline) if mode.timed_out(&error, deadline.remaining()) => {
                match self.settings.exceeded("call") {
                    Enforcement::Reject => mode.reject(seed, self.rejection()),
                    Enforcement::Observe => Err(error),
                }
            }
            _ => Err(error),
        }
    }
}
