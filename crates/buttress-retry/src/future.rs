use std::{
    fmt,
    future::Future,
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::{Carry, GaveUp, Judge, Replay};
use pin_project::pin_project;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

use crate::{budget::Withdrawal, call::Call};

/// The future of [`Retry`](crate::Retry).
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct ResponseFuture<S, Req, M, C>
where
    S: Service<Req>,
    M: Replay<Req>,
    C: Judge<M, Req, S::Response, S::Error>,
{
    #[pin]
    state: State<S::Future, Req>,
    call: Call<S, M, C, M::Saved, C::Seed>,
}

impl<S, Req, M, C> ResponseFuture<S, Req, M, C>
where
    S: Service<Req>,
    M: Replay<Req>,
    C: Judge<M, Req, S::Response, S::Error>,
{
    pub(crate) const fn new(future: S::Future, call: Call<S, M, C, M::Saved, C::Seed>) -> Self {
        Self { state: State::Attempting { future }, call }
    }
}

impl<S, Req, M, C> Future for ResponseFuture<S, Req, M, C>
where
    S: Service<Req> + Clone,
    M: Replay<Req> + Carry<Req>,
    C: Judge<M, Req, S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let (outcome, verdict, gave_up) = match this.state.as_mut().project() {
                Polled::Attempting { future } => ready!(this.call.within(|| {
                    let (polled, gave_up) = GaveUp::watch(|| future.poll(cx));
                    polled.map(|outcome| {
                        let verdict = this.call.judge(outcome.as_ref());
                        (outcome, verdict, gave_up)
                    })
                })),
                Polled::Waiting { sleep, .. } => {
                    ready!(sleep.as_mut().poll(cx));
                    if let Last::Waiting { next, .. } =
                        this.state.as_mut().project_replace(State::Ended)
                    {
                        this.state.set(State::Readying { next });
                    }
                    continue;
                }
                Polled::Readying { .. } => match ready!(this.call.poll_ready(cx)) {
                    Ok(()) => {
                        if let Last::Readying { next } =
                            this.state.as_mut().project_replace(State::Ended)
                            && let Some(future) = this.call.attempt(*next)
                        {
                            this.state.set(State::Attempting { future });
                        }
                        continue;
                    }
                    Err(error) => {
                        // What was paid for this attempt goes back before the next is paid for.
                        this.state.set(State::Ended);
                        let verdict = this.call.within(|| this.call.judge(Err(&error)));
                        (Err(error), verdict, false)
                    }
                },
                Polled::Ended => unreachable!("polled after it had ended"),
            };
            match this.call.settle(outcome, verdict, gave_up) {
                ControlFlow::Continue(next) => {
                    let sleep = Box::pin(sleep(next.delay));
                    this.state.set(State::Waiting { sleep, next: Box::new(next) });
                }
                ControlFlow::Break(outcome) => return Poll::Ready(outcome),
            }
        }
    }
}

impl<S, Req, M, C> fmt::Debug for ResponseFuture<S, Req, M, C>
where
    S: Service<Req>,
    M: Replay<Req>,
    C: Judge<M, Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

#[pin_project(project = Polled, project_replace = Last)]
enum State<F, Req> {
    Attempting {
        #[pin]
        future: F,
    },
    Waiting {
        // Both boxed, so that a call that never waits has no room for them, and stays `Unpin`.
        sleep: Pin<Box<Sleep>>,
        next: Box<Next<Req>>,
    },
    Readying {
        next: Box<Next<Req>>,
    },
    Ended,
}

/// A request to send again after a delay, and what was paid for doing so.
pub(crate) struct Next<Req> {
    pub(crate) request: Req,
    pub(crate) paid: Withdrawal,
    pub(crate) delay: Duration,
}
