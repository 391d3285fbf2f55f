use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::{Respond, Share};
use pin_project::pin_project;

use crate::{
    Inner, Setup,
    flight::{Member, Seat},
    landing::{hand_on, land},
    oneshot::Oneshot,
    run::run,
    setup::{Err, FlightIn, Judged, Res},
};

/// The future of [`Dedup`](crate::Dedup).
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct ResponseFuture<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    #[pin]
    stage: Stage<S, Req, C>,
    core: C,
}

/// Where a call is.
#[pin_project(project = StageProj, project_replace = StageOwn)]
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
    },
    /// It goes alone. If it succeeds, all that is kept about a subject is outdated.
    Apart {
        #[pin]
        call: Oneshot<S, Req>,
        seed: SeedIn<S, Req, C>,
        changes: Option<(u64, Judged<S, Req, C>)>,
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
    pub(crate) const fn new(stage: Stage<S, Req, C>, core: C) -> Self {
        Self { stage, core }
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
        let mut this = self.project();
        loop {
            match this.stage.as_mut().project() {
                StageProj::Aboard { member, .. } => {
                    ready!(fly(member, this.core, cx));
                }
                StageProj::Apart { call, .. } => {
                    let outcome = ready!(call.poll(cx));
                    if let StageOwn::Apart { seed, changes, .. } =
                        this.stage.as_mut().project_replace(Stage::Ended)
                    {
                        return Poll::Ready(hand_on(outcome, seed, changes, this.core));
                    }
                }
                StageProj::Answered(_) => {}
                StageProj::Ended => unreachable!("polled after it ended"),
            }
            let stage = match this.stage.as_mut().project_replace(Stage::Ended) {
                StageOwn::Answered(outcome) => return Poll::Ready(outcome),
                StageOwn::Aboard { member, role } => land(member, role, this.core),
                StageOwn::Apart { .. } | StageOwn::Ended => unreachable!("it has ended above"),
            };
            this.stage.set(stage);
        }
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

/// Waits for the flight's answer.
#[inline]
fn fly<S, Req, C>(member: &Member<FlightIn<S, Req, C>>, setup: &C, cx: &mut Context<'_>) -> Poll<()>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let Some((flight, place)) = member.flight() else { return Poll::Ready(()) };
    if flight.answer().is_some() {
        return Poll::Ready(());
    }
    let met = ready!(flight.poll(place, cx, |work, cx| run(setup, flight, work, cx)));
    if let Err(payload) = met {
        setup.core().shared.meet(payload);
    }
    Poll::Ready(())
}
