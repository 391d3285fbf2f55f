use std::{
    fmt,
    future::Future,
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::{InnerReport, Judge, MarkGaveUp, Propagate, Replay};
use pin_project::pin_project;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

use crate::attempts::{Attempts, Ended, NextAttempt};

/// The future of [`Retry`](crate::Retry).
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct ResponseFuture<S, Req, M, J>
where
    S: Service<Req>,
    M: Replay<Req>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    #[pin]
    state: AttemptState<S::Future, Req, Result<S::Response, S::Error>>,
    attempts: Attempts<S, M, J, M::Saved, J::Seed>,
}

impl<S, Req, M, J> ResponseFuture<S, Req, M, J>
where
    S: Service<Req>,
    M: Replay<Req>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    pub(crate) const fn new(
        future: S::Future,
        attempts: Attempts<S, M, J, M::Saved, J::Seed>,
    ) -> Self {
        Self { state: AttemptState::Attempting { future }, attempts }
    }
}

impl<S, Req, M, J> Future for ResponseFuture<S, Req, M, J>
where
    S: Service<Req> + Clone,
    M: Replay<Req> + Propagate<Req> + MarkGaveUp<S::Response>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let mut failed = None;
        if let Polled::Attempting { future } = this.state.as_mut().project() {
            let polled = this.attempts.poll_attempt(future, &mut failed, cx);
            let Some(ended) = failed else { return polled };
            let outcome = ready!(polled);
            return go_on(this.state, this.attempts, Some((outcome, ended)), cx);
        }
        go_on(this.state, this.attempts, None, cx)
    }
}

/// Polls a call whose attempt has `failed`, in this poll or in an earlier one.
#[cold]
#[expect(clippy::type_complexity, reason = "the parts of a future that is polled")]
fn go_on<S, Req, M, J>(
    mut state: Pin<&mut AttemptState<S::Future, Req, Result<S::Response, S::Error>>>,
    attempts: &mut Attempts<S, M, J, M::Saved, J::Seed>,
    mut failed: Option<(Result<S::Response, S::Error>, Ended)>,
    cx: &mut Context<'_>,
) -> Poll<Result<S::Response, S::Error>>
where
    S: Service<Req> + Clone,
    M: Replay<Req> + Propagate<Req> + MarkGaveUp<S::Response>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    loop {
        if let Some((outcome, ended)) = failed.take() {
            // Must run before `failed`: the ended attempt may still own the body of the request,
            // and dropping a plan that did not begin refunds its payment before the budget is asked
            // again.
            state.set(AttemptState::Ended);
            match attempts.failed(outcome, ended) {
                ControlFlow::Continue(next) => {
                    // Boxed, as `next` is: the future of a call that does not wait stays small.
                    let sleep = Box::pin(sleep(next.plan.delay));
                    state.set(AttemptState::Waiting { sleep, next: Box::new(next) });
                }
                ControlFlow::Break(outcome) => return Poll::Ready(outcome),
            }
        }
        match state.as_mut().project() {
            Polled::Attempting { future } => {
                let mut ended = None;
                let polled = attempts.poll_attempt(future, &mut ended, cx);
                let Some(ended) = ended else { return polled };
                failed = Some((ready!(polled), ended));
            }
            Polled::Waiting { sleep, .. } => {
                ready!(sleep.as_mut().poll(cx));
                if let Last::Waiting { next, .. } =
                    state.as_mut().project_replace(AttemptState::Ended)
                {
                    state.set(AttemptState::Readying { next, end: None });
                }
            }
            Polled::Readying { next, end } => {
                let mut report = InnerReport::EMPTY;
                let polled = attempts.poll_ready(&mut report, cx);
                let is_late = attempts.can_announce(&next.plan.request, Duration::ZERO).is_err();
                if !matches!(polled, Poll::Ready(Err(_)))
                    && let Some(last) = next.overtaken(attempts.until(), is_late, end, &polled, cx)
                {
                    let outcome = attempts.overtaken(next.verdict, next.signals, last);
                    // Drops the plan, which refunds its payment.
                    state.set(AttemptState::Ended);
                    return Poll::Ready(outcome);
                }
                match ready!(polled) {
                    Ok(()) => {
                        if let Last::Readying { next, .. } =
                            state.as_mut().project_replace(AttemptState::Ended)
                            && let Some(future) = attempts.begin_next(next.plan)
                        {
                            state.set(AttemptState::Attempting { future });
                        }
                    }
                    Err(error) => {
                        let ended = attempts.unready(&mut next.plan, &error, report.signals());
                        failed = Some((Err(error), ended));
                    }
                }
            }
            Polled::Ended => unreachable!("polled after it had ended"),
        }
    }
}

impl<S, Req, M, J> fmt::Debug for ResponseFuture<S, Req, M, J>
where
    S: Service<Req>,
    M: Replay<Req>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

#[pin_project(project = Polled, project_replace = Last)]
enum AttemptState<F, Req, Outcome> {
    Attempting {
        #[pin]
        future: F,
    },
    Waiting {
        // Both boxed, so that a call that never waits has no room for them and stays `Unpin`.
        sleep: Pin<Box<Sleep>>,
        next: Box<NextAttempt<Req, Outcome>>,
    },
    Readying {
        next: Box<NextAttempt<Req, Outcome>>,
        /// Fires at the end of the wait. Set once the service was pending.
        end: Option<Pin<Box<Sleep>>>,
    },
    Ended,
}
