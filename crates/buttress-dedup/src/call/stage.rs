use std::{mem, pin::Pin};

use buttress_core::{Classify, Reader, Respond, Share};

use super::{Err, FlightIn, Judged, KeptIn, Res, SharedConfig, oneshot::Oneshot};
use crate::{
    FlightGuard, Setup, ShareError, SharedService, cache::CachedOutcome, flight::Membership,
    key::KeySource,
};

/// Where a call is.
pub(crate) enum Stage<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    /// The outcome is known already.
    Done(OutcomeIn<S, Req, C>),
    /// It waits for a flight.
    Waiting {
        membership: Membership<FlightIn<S, Req, C>>,
        role: Role<S, Req, SeedIn<S, Req, C>>,
        setup: C,
    },
    /// It goes alone. If it succeeds, all that is kept about a subject is outdated.
    Bypass {
        // Inline it would make every call's future as large as two.
        call: Pin<Box<Oneshot<S, Req>>>,
        seed: SeedIn<S, Req, C>,
        changes: Option<(u64, Judged<S, Req, C>)>,
        setup: C,
    },
    Ended,
}

impl<S, Req, C> Stage<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    #[inline]
    pub(crate) fn end(&mut self) -> Self {
        mem::replace(self, Self::Ended)
    }
}

/// Whose request the flight carries.
pub(crate) enum Role<S, Req, Seed> {
    /// This one's.
    Leader(Seed),
    /// Another's; it has its own still, in case it must go itself.
    Follower(S, Req, Seed),
}

impl<S, Req, Seed> Role<S, Req, Seed> {
    pub(crate) fn into_seed(self) -> Seed {
        let (Self::Leader(seed) | Self::Follower(_, _, seed)) = self;
        seed
    }

    pub(crate) const fn is_leader(&self) -> bool {
        matches!(self, Self::Leader(_))
    }
}

/// A call that goes alone.
pub(crate) fn bypass<S, Req, C>(setup: &C, inner: S, request: Req) -> Stage<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    core.shared.state.apart.add();
    let seed = respond_seed(setup, &request);
    let changes = core
        .keys
        .invalidates(&core.mode, &request)
        .map(|subject| (subject, Classify::seed(&core.mode, &request)));
    let (call, setup) = (Box::pin(Oneshot::new(inner, request)), setup.clone());
    Stage::Bypass { call, seed, changes, setup }
}

/// A call that met, or waited for, a panic.
#[cold]
pub(crate) fn panicked<S, Req, C>(setup: &C, seed: SeedIn<S, Req, C>) -> Stage<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    Stage::Done(core.mode.reject(seed, core.shared.settings.panicked()))
}

/// A call that was to be answered with what is kept, and there is nothing that will do.
#[cold]
pub(crate) fn not_cached<S, Req, C>(setup: &C, request: &Req) -> Stage<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    let SharedConfig { settings, .. } = &*core.shared;
    let why = settings.not_cached();
    let (instance, reason) = (settings.origin.name(), why.reason().as_str());
    tracing::debug!(name: "dedup.rejected", target: "buttress", instance, reason);
    Stage::Done(core.mode.reject(respond_seed(setup, request), why))
}

/// What is kept, as this caller's own outcome. `None` if it is an error that cannot be shared any more.
pub(crate) fn restore<S, Req, C>(
    setup: &C,
    kept: &KeptIn<S, Req, C>,
    stale: bool,
) -> Option<Result<ModeResponse<S, Req, C>, S::Error>>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    match kept.value() {
        CachedOutcome::Response(shared) => {
            Some(Ok(core.mode.restore(shared, Reader::cached(kept.age(), stale))))
        }
        CachedOutcome::Error(error) => core.errors.share(error).map(Err),
    }
}

/// Whether somebody can be given what is kept: not if it is an error that cannot be shared.
pub(crate) fn can_restore<S, Req, C>(setup: &C, kept: &KeptIn<S, Req, C>) -> bool
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    match kept.value() {
        CachedOutcome::Response(_) => true,
        CachedOutcome::Error(error) => setup.core().errors.share(error).is_some(),
    }
}

/// Somebody is answered with what was kept.
#[inline]
pub(crate) fn hit<S, Req, C>(setup: &C, stale: bool)
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let SharedConfig { state, settings, .. } = &*setup.core().shared;
    state.hits.add();
    if stale {
        state.stale.add();
    }
    let instance = settings.origin.name();
    tracing::trace!(name: "dedup.cache_hit", target: "buttress", instance, stale);
}

pub(crate) fn respond_seed<S, Req, C>(setup: &C, request: &Req) -> SeedIn<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    Respond::seed(&setup.core().mode, request)
}

pub(crate) type ModeResponse<S, Req, C> =
    <<C as Setup<S, Req>>::Mode as Share<Res<S, Req>>>::Response;
pub(crate) type SeedIn<S, Req, C> =
    <<C as Setup<S, Req>>::Mode as Respond<Req, ModeResponse<S, Req, C>, Err<S, Req>>>::Seed;
pub(crate) type OutcomeIn<S, Req, C> = Result<
    <<C as Setup<S, Req>>::Mode as Respond<Req, ModeResponse<S, Req, C>, Err<S, Req>>>::Response<
        FlightGuard,
    >,
    Err<S, Req>,
>;
