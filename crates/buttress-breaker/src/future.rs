use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_control::CircuitOpen;
use buttress_core::{Judge, Respond};
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
    // Declared before `ticket`: if the caller leaves, the inner call is gone before a probe gives its
    // place back.
    #[pin]
    state: CallState<S::Future, C::Held>,
    /// `None` if the call is not recorded.
    ticket: Option<Ticket<C::Held>>,
    mode: M,
    judge: J,
    /// That of the mode. `None` once the call has ended.
    seed: Option<M::Seed>,
    judge_seed: J::Seed,
}

// The ticket and the seeds stand beside this, so that the end of a call moves none of them.
#[pin_project(project = Polled)]
enum CallState<F, H> {
    Running(#[pin] F),
    // The rejection is made in the poll that returns it: it is larger than what it is made of.
    Rejected(H, CircuitOpen),
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
        (seed, judge_seed): (M::Seed, J::Seed),
        (mode, judge): (M, J),
    ) -> Self {
        Self {
            state: CallState::Running(future),
            ticket,
            mode,
            judge,
            seed: Some(seed),
            judge_seed,
        }
    }

    #[cold]
    pub(crate) fn rejected(
        held: C::Held,
        open: CircuitOpen,
        (seed, judge_seed): (M::Seed, J::Seed),
        (mode, judge): (M, J),
    ) -> Self {
        let state = CallState::Rejected(held, open);
        Self { state, ticket: None, mode, judge, seed: Some(seed), judge_seed }
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
        let Polled::Running(future) = this.state.as_mut().project() else {
            return Poll::Ready(self.reject());
        };
        let outcome = ready!(Ticket::watch(this.ticket.as_mut(), || future.poll(cx)));
        if let Some(ticket) = this.ticket {
            let (mode, judge, seed, outcome) =
                (&*this.mode, &*this.judge, &*this.judge_seed, outcome.as_ref());
            let is_callers_own = || judge.is_callers_own(mode, seed, outcome);
            let verdict = ticket.judge(|| judge.judge(mode, seed, outcome));
            ticket.settle(verdict, is_callers_own);
        }
        // Drops the inner future, which may hold what another call waits for.
        this.state.set(CallState::Ended);
        let Some(seed) = this.seed.take() else { unreachable!("taken at the end only") };
        Poll::Ready(outcome.map(|response| this.mode.admit(seed, response, None)))
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
        let mut this = self.project();
        let Polled::Rejected(held, open) = this.state.as_mut().project() else {
            unreachable!("polled after it had ended")
        };
        let rejection = held.settings().rejection(*open);
        this.state.set(CallState::Ended);
        let Some(seed) = this.seed.take() else { unreachable!("taken at the end only") };
        this.mode.reject(seed, rejection)
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
