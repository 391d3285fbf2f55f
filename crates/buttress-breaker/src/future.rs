use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::{Judge, Rejection, Respond};
use pin_project::pin_project;
use tower_service::Service;

use crate::{
    circuits::{CircuitOf, HeldCircuit},
    ticket::Ticket,
};

/// The future of [`Breaker`](crate::Breaker).
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct ResponseFuture<S, Req, M, C, J>
where
    S: Service<Req>,
    M: Respond<Req, S::Response, S::Error>,
    C: CircuitOf<Req>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    #[pin]
    state: CallState<S::Future, C::Held, M::Seed, J::Seed>,
    mode: M,
    judge: J,
}

#[pin_project(project = Polled, project_replace = Last)]
enum CallState<F, H: HeldCircuit, M, J> {
    Running {
        // Declared before `ticket`: if the caller leaves, the inner call is gone before a probe
        // gives its place back.
        #[pin]
        future: F,
        /// `None` if the call is not recorded.
        ticket: Option<Ticket<H>>,
        /// Those of the mode and of the judge.
        seeds: (M, J),
    },
    // Boxed, so that the future of an admitted call has no room for the rejection.
    Rejected(Box<(Rejection, M)>),
    Ended,
}

impl<S, Req, M, C, J> ResponseFuture<S, Req, M, C, J>
where
    S: Service<Req>,
    M: Respond<Req, S::Response, S::Error>,
    C: CircuitOf<Req>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    #[inline]
    pub(crate) fn running(
        future: S::Future,
        ticket: Option<Ticket<C::Held>>,
        seeds: (M::Seed, J::Seed),
        (mode, judge): (M, J),
    ) -> Self {
        Self { state: CallState::Running { future, ticket, seeds }, mode, judge }
    }

    #[cold]
    pub(crate) fn rejected(rejection: Rejection, seed: M::Seed, (mode, judge): (M, J)) -> Self {
        Self { state: CallState::Rejected(Box::new((rejection, seed))), mode, judge }
    }
}

impl<S, Req, M, C, J> Future for ResponseFuture<S, Req, M, C, J>
where
    S: Service<Req>,
    M: Respond<Req, S::Response, S::Error>,
    C: CircuitOf<Req>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    type Output = Result<M::Response<()>, S::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.as_mut().project();
        let Polled::Running { future, ticket, seeds } = this.state.as_mut().project() else {
            return Poll::Ready(self.reject());
        };
        let outcome = ready!(Ticket::watch(ticket.as_mut(), || future.poll(cx)));
        if let Some(ticket) = ticket {
            let (mode, judge, seed, outcome) =
                (&*this.mode, &*this.judge, &seeds.1, outcome.as_ref());
            let is_callers_own = || judge.is_callers_own(mode, seed, outcome);
            let verdict = ticket.judge(|| judge.judge(mode, seed, outcome));
            ticket.settle(verdict, is_callers_own);
        }
        // Drops the inner future, which may hold what another call waits for.
        let Last::Running { seeds, .. } = this.state.project_replace(CallState::Ended) else {
            unreachable!("it runs")
        };
        Poll::Ready(outcome.map(|response| this.mode.admit(seeds.0, response, None)))
    }
}

impl<S, Req, M, C, J> ResponseFuture<S, Req, M, C, J>
where
    S: Service<Req>,
    M: Respond<Req, S::Response, S::Error>,
    C: CircuitOf<Req>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    #[cold]
    fn reject(self: Pin<&mut Self>) -> Result<M::Response<()>, S::Error> {
        let this = self.project();
        match this.state.project_replace(CallState::Ended) {
            Last::Rejected(rejected) => {
                let (rejection, seed) = *rejected;
                this.mode.reject(seed, rejection)
            }
            _ => unreachable!("polled after it had ended"),
        }
    }
}

impl<S, Req, M, C, J> fmt::Debug for ResponseFuture<S, Req, M, C, J>
where
    S: Service<Req>,
    M: Respond<Req, S::Response, S::Error>,
    C: CircuitOf<Req>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
