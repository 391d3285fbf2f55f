use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{
    Call, Config, Outcome,
    drive::{is_outcome_of_remaining_member, poll_flight},
    outcome::{Next, caller_outcome, pass_on, restart},
    stage::Stage,
    start::start,
    typed_state::CallFlight,
};
use crate::flight::{Membership, WaitEnd};

/// The future of [`Dedup`](crate::Dedup).
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<C: Call> {
    stage: Stage<C>,
}

// All polled futures are in a box, here or in the flight.
impl<C: Call> Unpin for ResponseFuture<C> {}

impl<C: Call> ResponseFuture<C> {
    #[inline]
    pub(crate) const fn new(stage: Stage<C>) -> Self {
        Self { stage }
    }
}

impl<C: Call> Future for ResponseFuture<C> {
    type Output = Outcome<C>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let stage = &mut self.get_mut().stage;
        loop {
            let next = match stage {
                Stage::Waiting { membership, config, .. } => {
                    let end = ready!(wait(membership, config, cx));
                    // Taken out before code of the user runs below: if that panics, the membership is
                    // dropped and the flight left.
                    let Stage::Waiting { membership, role, config } = stage.end() else { break };
                    let next = match end {
                        FlightEnd::Own(outcome) => {
                            // `finish_alone` has ended the flight and removed it: there is nothing to leave.
                            membership.forget();
                            return Poll::Ready(pass_on::<C>(
                                outcome,
                                role.into_seed(),
                                None,
                                &config,
                            ));
                        }
                        FlightEnd::Restart => {
                            // `wait` restarts only after `WaitEnd::Own`, so `finish_alone` has ended the
                            // flight.
                            membership.forget();
                            restart(role, &config)
                        }
                        FlightEnd::Answered => caller_outcome(membership, role, &config),
                    };
                    match next {
                        Next::Outcome(outcome) => return Poll::Ready(outcome),
                        Next::Stage(stage) => stage,
                        Next::Restart(inner, request) => start_again(&config, &inner, request),
                    }
                }
                Stage::Bypass { call, .. } => {
                    let outcome = ready!(call.as_mut().poll(cx));
                    let Stage::Bypass { seed, invalidates, config, .. } = stage.end() else {
                        break;
                    };
                    return Poll::Ready(pass_on::<C>(outcome, seed, invalidates, &config));
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

impl<C: Call> fmt::Debug for ResponseFuture<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Starts a call again, out of line: inlined into `poll`, `start` would slow down every call.
#[cold]
#[inline(never)]
fn start_again<C: Call>(config: &Config<C>, inner: &C::Service, request: C::Request) -> Stage<C> {
    config.shared.state.repeats.add();
    start(config, inner, request)
}

/// How the flight ended for a member.
enum FlightEnd<O> {
    /// The flight has a result.
    Answered,
    /// No other member waits, and this is the outcome.
    Own(O),
    /// The call ended at the deadline of a leader that has left. The member starts again.
    Restart,
}

/// Waits for the end of the flight.
#[inline]
fn wait<C: Call>(
    membership: &Membership<CallFlight<C>>,
    config: &Config<C>,
    cx: &mut Context<'_>,
) -> Poll<FlightEnd<Result<C::Response, C::Error>>> {
    let Some((flight, member)) = membership.flight() else {
        return Poll::Ready(FlightEnd::Answered);
    };
    // A look without a lock. A later result wakes this member: `poll_drive` registers the
    // waker under the lock under which `Driver::drop` takes all wakers.
    if flight.result().is_some() {
        return Poll::Ready(FlightEnd::Answered);
    }
    Poll::Ready(match ready!(poll_flight::<C>(config, flight, member, cx)) {
        WaitEnd::Answered => FlightEnd::Answered,
        WaitEnd::Own(end) if !is_outcome_of_remaining_member::<C>(config, flight, &end) => {
            FlightEnd::Restart
        }
        WaitEnd::Own(end) => {
            end.signals.raise();
            FlightEnd::Own(end.outcome)
        }
        WaitEnd::Panicked(payload) => {
            // May resume the panic. `Flight::poll` has published a result before, so the other members are
            // served.
            config.shared.panicked(payload);
            FlightEnd::Answered
        }
    })
}
