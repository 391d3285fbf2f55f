use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{
    FlightIn,
    drive::{is_outcome_of_remaining_member, poll_flight},
    outcome::{Next, caller_outcome, pass_on, restart},
    stage::{OutcomeIn, Stage},
    start::start,
};
use crate::{
    Setup, SharedService,
    flight::{Membership, WaitEnd},
};

/// The future of [`Dedup`](crate::Dedup).
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    stage: Stage<S, Req, C>,
}

// What is polled lies in a box of its own, here or in the flight.
impl<S, Req, C> Unpin for ResponseFuture<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
}

impl<S, Req, C> ResponseFuture<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    #[inline]
    pub(crate) const fn new(stage: Stage<S, Req, C>) -> Self {
        Self { stage }
    }
}

impl<S, Req, C> Future for ResponseFuture<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    type Output = OutcomeIn<S, Req, C>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let stage = &mut self.get_mut().stage;
        loop {
            let next = match stage {
                Stage::Waiting { membership, setup, .. } => {
                    let waited = ready!(wait(membership, setup, cx));
                    let Stage::Waiting { membership, role, setup } = stage.end() else { break };
                    let next = match waited {
                        Waited::Own(outcome) => {
                            // The flight is over, and out of the table: there is nothing to leave.
                            membership.forget();
                            return Poll::Ready(pass_on(outcome, role.into_seed(), None, &setup));
                        }
                        Waited::Restart => {
                            membership.forget();
                            restart(role, &setup)
                        }
                        Waited::Answered => caller_outcome(membership, role, &setup),
                    };
                    match next {
                        Next::Outcome(outcome) => return Poll::Ready(outcome),
                        Next::Stage(stage) => stage,
                        Next::Restart(inner, request) => start(&setup, &inner, request),
                    }
                }
                Stage::Bypass { call, .. } => {
                    let outcome = ready!(call.as_mut().poll(cx));
                    let Stage::Bypass { seed, changes, setup, .. } = stage.end() else { break };
                    return Poll::Ready(pass_on(outcome, seed, changes, &setup));
                }
                Stage::Done(_) | Stage::Ended => {
                    let Stage::Done(outcome) = stage.end() else { break };
                    return Poll::Ready(outcome);
                }
            };
            *stage = next;
        }
        unreachable!("polled after it ended")
    }
}

impl<S, Req, C> fmt::Debug for ResponseFuture<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// How a member's wait ended.
enum Waited<O> {
    /// The flight has the answer.
    Answered,
    /// Nobody else waits, and this is the outcome.
    Own(O),
    /// It was somebody else's time that ran out.
    Restart,
}

/// Waits for the flight's end.
#[inline]
fn wait<S, Req, C>(
    membership: &Membership<FlightIn<S, Req, C>>,
    setup: &C,
    cx: &mut Context<'_>,
) -> Poll<Waited<Result<S::Response, S::Error>>>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let Some((flight, place)) = membership.flight() else { return Poll::Ready(Waited::Answered) };
    if flight.result().is_some() {
        return Poll::Ready(Waited::Answered);
    }
    Poll::Ready(match ready!(poll_flight(setup, flight, place, cx)) {
        WaitEnd::Answered => Waited::Answered,
        WaitEnd::Own(end) if !is_outcome_of_remaining_member(setup, flight, &end) => {
            Waited::Restart
        }
        WaitEnd::Own(end) => {
            end.signals.raise();
            Waited::Own(end.outcome)
        }
        WaitEnd::Panicked(payload) => {
            setup.core().shared.panicked(payload);
            Waited::Answered
        }
    })
}
