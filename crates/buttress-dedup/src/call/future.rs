use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::{Respond, Share};

use super::{
    Err, FlightIn, Judged, Res,
    drive::{fly, is_own},
    oneshot::Oneshot,
    outcome::{again, hand_on, land},
};
use crate::{
    Inner, Setup,
    flight::{Flown, Member, Seat},
};

/// The future of [`Dedup`](crate::Dedup).
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    stage: Stage<S, Req, C>,
}

// What is polled lies in a box of its own, here or in the flight.
impl<S, Req, C> Unpin for ResponseFuture<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
}

/// Where a call is.
pub(crate) enum Stage<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    /// The outcome is known already.
    Answered(OutcomeIn<S, Req, C>),
    /// It waits for a flight.
    Aboard {
        member: Member<FlightIn<S, Req, C>>,
        role: Role<S, Req, SeedIn<S, Req, C>>,
        setup: C,
    },
    /// It goes alone. If it succeeds, all that is kept about a subject is outdated.
    Apart {
        // Inline it would make every call's future as large as two.
        call: Pin<Box<Oneshot<S, Req>>>,
        seed: SeedIn<S, Req, C>,
        changes: Option<(u64, Judged<S, Req, C>)>,
        setup: C,
    },
    Ended,
}

/// Whose request the flight carries.
pub(crate) enum Role<S, Req, Seed> {
    /// This one's.
    First(Seed),
    /// Another's; it has its own still, in case it must go itself.
    Later(S, Req, Seed),
}

impl<S, Req, Seed> Role<S, Req, Seed> {
    pub(crate) fn into_seed(self) -> Seed {
        let (Self::First(seed) | Self::Later(_, _, seed)) = self;
        seed
    }

    pub(crate) const fn is_first(&self) -> bool {
        matches!(self, Self::First(_))
    }
}

pub(crate) type ModeResponse<S, Req, C> =
    <<C as Setup<S, Req>>::Mode as Share<Res<S, Req>>>::Response;
pub(crate) type SeedIn<S, Req, C> =
    <<C as Setup<S, Req>>::Mode as Respond<Req, ModeResponse<S, Req, C>, Err<S, Req>>>::Seed;
pub(crate) type OutcomeIn<S, Req, C> = Result<
    <<C as Setup<S, Req>>::Mode as Respond<Req, ModeResponse<S, Req, C>, Err<S, Req>>>::Response<
        Seat,
    >,
    Err<S, Req>,
>;

impl<S, Req, C> ResponseFuture<S, Req, C>
where
    S: Inner<Req>,
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
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    type Output = OutcomeIn<S, Req, C>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let stage = &mut self.get_mut().stage;
        loop {
            let next = match stage {
                Stage::Aboard { member, setup, .. } => {
                    let waited = ready!(wait(member, setup, cx));
                    let Stage::Aboard { member, role, setup } = stage.end() else { break };
                    match waited {
                        Waited::Own(outcome) => {
                            // The flight is over, and out of the table: there is nothing to leave.
                            member.forget();
                            return Poll::Ready(hand_on(outcome, role.into_seed(), None, &setup));
                        }
                        Waited::Again => {
                            member.forget();
                            again(role, &setup)
                        }
                        Waited::Answered => match land(member, role, &setup) {
                            Ok(outcome) => return Poll::Ready(outcome),
                            Err(next) => next,
                        },
                    }
                }
                Stage::Apart { call, .. } => {
                    let outcome = ready!(call.as_mut().poll(cx));
                    let Stage::Apart { seed, changes, setup, .. } = stage.end() else { break };
                    return Poll::Ready(hand_on(outcome, seed, changes, &setup));
                }
                Stage::Answered(_) | Stage::Ended => {
                    let Stage::Answered(outcome) = stage.end() else { break };
                    return Poll::Ready(outcome);
                }
            };
            *stage = next;
        }
        unreachable!("polled after it ended")
    }
}

impl<S, Req, C> Stage<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    #[inline]
    fn end(&mut self) -> Self {
        mem::replace(self, Self::Ended)
    }
}

impl<S, Req, C> fmt::Debug for ResponseFuture<S, Req, C>
where
    S: Inner<Req>,
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
    Again,
}

/// Waits for the flight's end.
#[inline]
fn wait<S, Req, C>(
    member: &Member<FlightIn<S, Req, C>>,
    setup: &C,
    cx: &mut Context<'_>,
) -> Poll<Waited<Result<S::Response, S::Error>>>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let Some((flight, place)) = member.flight() else { return Poll::Ready(Waited::Answered) };
    if flight.answer().is_some() {
        return Poll::Ready(Waited::Answered);
    }
    Poll::Ready(match ready!(fly(setup, flight, place, cx)) {
        Flown::Answered => Waited::Answered,
        Flown::Own(end) if !is_own(setup, flight, &end) => Waited::Again,
        Flown::Own(end) => {
            end.marks.leave();
            Waited::Own(end.outcome)
        }
        Flown::Panicked(payload) => {
            setup.core().shared.panicked(payload);
            Waited::Answered
        }
    })
}
