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
    #[pin]
    state: State<F, Seed>,
    mode: M,
    request: PhantomData<fn(Req)>,
}

impl<F, Req, M, Seed> ResponseFuture<F, Req, M, Seed> {
    pub(crate) fn running(
        future: F,
        deadline: Option<Deadline>,
        seed: Seed,
        mode: M,
        settings: &Arc<Settings>,
    ) -> Self {
        let settings = Arc::clone(settings);
        let call = Call { deadline, timer: Timer::new(), settings };
        Self { state: State::Running { future, call, seed }, mode, request: PhantomData }
    }

    pub(crate) fn rejected(
        deadline: Deadline,
        seed: Seed,
        mode: M,
        settings: &Arc<Settings>,
    ) -> Self {
        let settings = Arc::clone(settings);
        Self { state: State::Rejected { deadline, settings, seed }, mode, request: PhantomData }
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
        let ended = match this.state.as_mut().project() {
            Polled::Running { future, call, .. } => {
                match Deadline::with(call.deadline, || future.poll(cx)) {
                    Poll::Ready(outcome) => Ok(outcome),
                    Poll::Pending => Err(ready!(call.poll_cut(cx, "call"))),
                }
            }
            Polled::Rejected { deadline, .. } => Err(*deadline),
            Polled::Ended => unreachable!("polled after it had ended"),
        };
        // The call is dropped here, before anybody hears of its end.
        let (call, seed) = match this.state.project_replace(State::Ended) {
            Last::Running { call, seed, .. } => (call, seed),
            Last::Rejected { settings, deadline, seed } => {
                (Call { deadline: Some(deadline), timer: Timer::new(), settings }, seed)
            }
            Last::Ended => unreachable!("the state was looked at above"),
        };
        Poll::Ready(match ended {
            Ok(Ok(response)) => Ok(call.admit(this.mode, seed, response)),
            Ok(Err(error)) => call.fail(this.mode, seed, error),
            Err(deadline) => this.mode.reject(seed, call.settings.rejection(deadline)),
        })
    }
}

impl<F, Req, M, Seed> fmt::Debug for ResponseFuture<F, Req, M, Seed> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

#[pin_project(project = Polled, project_replace = Last)]
enum State<F, Seed> {
    Running {
        #[pin]
        future: F,
        call: Call,
        seed: Seed,
    },
    Rejected {
        deadline: Deadline,
        settings: Arc<Settings>,
        seed: Seed,
    },
    Ended,
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

    pub(crate) fn rejection(&self, deadline: Deadline) -> Rejection {
        self.settings.rejection(deadline)
    }

    /// Ready when the call must be cut off. Poll it only when there is nothing to hand on.
    pub(crate) fn poll_cut(&mut self, cx: &mut Context<'_>, phase: &'static str) -> Poll<Deadline> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        ready!(self.timer.poll(cx, deadline, &self.settings.state.timers));
        match self.settings.exceeded(phase) {
            Enforcement::Reject => Poll::Ready(deadline),
            Enforcement::Observe => {
                self.timer.disarm();
                Poll::Pending
            }
        }
    }

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
                    Enforcement::Reject => mode.reject(seed, self.settings.rejection(deadline)),
                    Enforcement::Observe => Err(error),
                }
            }
            _ => Err(error),
        }
    }
}
