use std::{
    fmt,
    future::Future,
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::{Carry, Deadline, Judge, Mark, Replay, Told, Verdict};
use pin_project::pin_project;
use tokio::time::{Sleep, sleep, sleep_until};
use tower_service::Service;

use crate::{
    call::Call,
    plan::{Ended, Plan},
};

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
    state: State<S::Future, Req, Result<S::Response, S::Error>>,
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
    M: Replay<Req> + Carry<Req> + Mark<S::Response>,
    C: Judge<M, Req, S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let (outcome, ended) = match this.state.as_mut().project() {
                Polled::Attempting { future } => {
                    let (mut outcome, mut verdict) = (Poll::Pending, Verdict::Success);
                    let told = this.call.within(|| {
                        outcome = future.poll(cx);
                        if let Poll::Ready(outcome) = &outcome {
                            verdict = this.call.judge(outcome.as_ref());
                        }
                    });
                    let outcome = ready!(outcome);
                    if verdict == Verdict::Success {
                        this.call.succeed(told.counted);
                        return Poll::Ready(outcome);
                    }
                    // Before anything is decided: what has ended may still own the body of the request.
                    this.state.set(State::Ended);
                    let answered = outcome.is_ok();
                    (outcome, Ended { verdict, told, answered })
                }
                Polled::Waiting { sleep, .. } => {
                    ready!(sleep.as_mut().poll(cx));
                    if let Last::Waiting { next, .. } =
                        this.state.as_mut().project_replace(State::Ended)
                    {
                        this.state.set(State::Readying { next, end: None });
                    }
                    continue;
                }
                Polled::Readying { next, end } => {
                    let polled = this.call.poll_ready(cx);
                    if !matches!(polled, Poll::Ready(Err(_)))
                        && let Some(last) = next.overtaken(this.call.deadline, end, &polled, cx)
                    {
                        let outcome = this.call.overtaken(next.verdict, last);
                        // What was paid for the attempt goes back.
                        this.state.set(State::Ended);
                        return Poll::Ready(outcome);
                    }
                    match ready!(polled) {
                        Ok(()) => {
                            if let Last::Readying { next, .. } =
                                this.state.as_mut().project_replace(State::Ended)
                                && let Some(future) = this.call.begin_next(next.plan)
                            {
                                this.state.set(State::Attempting { future });
                            }
                            continue;
                        }
                        Err(error) => {
                            // What was paid for this attempt goes back before the next is paid for.
                            this.state.set(State::Ended);
                            let mut verdict = Verdict::Success;
                            this.call.within(|| verdict = this.call.judge(Err(&error)));
                            (Err(error), Ended { verdict, told: Told::default(), answered: false })
                        }
                    }
                }
                Polled::Ended => unreachable!("polled after it had ended"),
            };
            match this.call.failed(outcome, ended) {
                ControlFlow::Continue(next) => {
                    let sleep = Box::pin(sleep(next.plan.delay));
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
enum State<F, Req, Outcome> {
    Attempting {
        #[pin]
        future: F,
    },
    Waiting {
        // Both boxed, so that a call that never waits has no room for them, and stays `Unpin`.
        sleep: Pin<Box<Sleep>>,
        next: Box<Next<Req, Outcome>>,
    },
    Readying {
        next: Box<Next<Req, Outcome>>,
        /// Fires at the deadline, once the service has not been ready at once.
        end: Option<Pin<Box<Sleep>>>,
    },
    Ended,
}

/// A call between two attempts.
pub(crate) struct Next<Req, Outcome> {
    pub(crate) plan: Plan<Req>,
    /// What the last attempt ended with, if it can be kept: it is returned if the next attempt cannot
    /// begin in time.
    pub(crate) last: Option<Outcome>,
    pub(crate) verdict: Verdict,
}

impl<Req, Outcome> Next<Req, Outcome> {
    /// Takes the last outcome once the deadline has passed. Where nothing was kept there is nothing to
    /// return, and the wait goes on.
    fn overtaken<T>(
        &mut self,
        deadline: Option<Deadline>,
        end: &mut Option<Pin<Box<Sleep>>>,
        readiness: &Poll<T>,
        cx: &mut Context<'_>,
    ) -> Option<Outcome> {
        let deadline = deadline.filter(|_| self.last.is_some())?;
        let has_passed = match readiness {
            Poll::Ready(_) => deadline.has_passed(),
            Poll::Pending => end
                .get_or_insert_with(|| Box::pin(sleep_until(deadline.instant())))
                .as_mut()
                .poll(cx)
                .is_ready(),
        };
        if has_passed { self.last.take() } else { None }
    }
}
