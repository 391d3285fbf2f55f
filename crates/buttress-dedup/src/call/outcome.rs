use std::panic::{AssertUnwindSafe, catch_unwind};

use buttress_core::{Classify, Deadline, Progress, Reader, Respond, Share, Verdict};
use tokio::time::Instant;

use super::{
    Err, FlightIn, Judged, KeptIn, Res, SharedConfig,
    future::{ModeResponse, OutcomeIn, Role, SeedIn, Stage},
    oneshot::Oneshot,
    result::Published,
    start::start,
    typed_state::TypedState,
};
use crate::{
    CachePolicy, FlightGuard, Setup, ShareError, SharedService,
    cache::{CacheLookup, CachedOutcome, EntryFreshness},
    flight::Membership,
    key::KeySource,
};

/// Makes this caller's own outcome of the flight's answer, or lets it go again, or alone.
#[inline]
pub(crate) fn caller_outcome<S, Req, C>(
    membership: Membership<FlightIn<S, Req, C>>,
    role: Role<S, Req, SeedIn<S, Req, C>>,
    setup: &C,
) -> Result<OutcomeIn<S, Req, C>, Stage<S, Req, C>>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let mode = &setup.core().mode;
    // To share is to run the user's `Clone`, or whatever makes another one of an error.
    let outcome = catch_unwind(AssertUnwindSafe(|| decide(&membership, &role, setup)));
    let outcome = outcome.unwrap_or_else(|payload| {
        setup.core().shared.panicked(payload);
        CallerOutcome::Panicked
    });
    if matches!(outcome, CallerOutcome::Restart | CallerOutcome::Bypass) {
        // Also so that the flight does not wait for somebody who goes elsewhere.
        drop(membership);
        return Err(match (role, outcome) {
            (Role::Follower(inner, request, _), CallerOutcome::Bypass) => {
                bypass(setup, inner, request)
            }
            (role, _) => restart(role, setup),
        });
    }
    if let Some(result) = membership.flight().and_then(|(flight, _)| flight.result()) {
        result.signals.raise();
    }
    let seed = role.into_seed();
    match outcome {
        CallerOutcome::Own(outcome) => {
            Ok(outcome.map(|response| mode.admit(seed, mode.own(response), None::<FlightGuard>)))
        }
        CallerOutcome::Shared(response) => {
            let seat = if C::Mode::IS_COMPLETE {
                membership.forget();
                None
            } else {
                membership.into_seat()
            };
            Ok(Ok(mode.admit(seed, response, seat)))
        }
        CallerOutcome::Cached(response) => Ok(Ok(mode.admit(seed, response, None::<FlightGuard>))),
        CallerOutcome::Failed(error) => Ok(Err(error)),
        CallerOutcome::Panicked | CallerOutcome::Restart | CallerOutcome::Bypass => {
            Err(panicked(setup, seed))
        }
    }
}

/// Begins again, for one who waited for another's call.
pub(crate) fn restart<S, Req, C>(
    role: Role<S, Req, SeedIn<S, Req, C>>,
    setup: &C,
) -> Stage<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    match role {
        Role::Follower(inner, request, _) => start(setup, &inner, request),
        // Whose request the flight carried has got what there was.
        Role::Leader(seed) => panicked(setup, seed),
    }
}

/// Hands on the outcome of a call that went alone.
pub(crate) fn pass_on<S, Req, C>(
    outcome: Result<S::Response, S::Error>,
    seed: SeedIn<S, Req, C>,
    changes: Option<(u64, Judged<S, Req, C>)>,
    setup: &C,
) -> OutcomeIn<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    if let Some((subject, judged)) = changes
        && core.mode.classify(&judged, outcome.as_ref()) == Verdict::Success
    {
        core.shared.changed(subject);
    }
    outcome.map(|response| core.mode.admit(seed, core.mode.own(response), None::<FlightGuard>))
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

/// Whether what is kept will do for a caller who waited for another's call.
fn suits<S, Req, C>(
    setup: &C,
    role: &Role<S, Req, SeedIn<S, Req, C>>,
    kept: &KeptIn<S, Req, C>,
) -> bool
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    let Role::Follower(_, request, _) = role else { return true };
    let lookup = core.keys.key_and_freshness(&core.mode, request);
    lookup.is_none_or(|(_, wanted)| core.shared.policy.satisfies(kept, Some(&wanted)))
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

/// What becomes of one caller.
enum CallerOutcome<Res, Response, E> {
    /// The outcome itself is its.
    Own(Result<Res, E>),
    Shared(Response),
    Cached(Response),
    Failed(E),
    /// Another flight, led by whoever comes first.
    Restart,
    /// A call of its own.
    Bypass,
    Panicked,
}

type CallerOutcomeIn<S, Req, C> = CallerOutcome<Res<S, Req>, ModeResponse<S, Req, C>, Err<S, Req>>;

fn decide<S, Req, C>(
    membership: &Membership<FlightIn<S, Req, C>>,
    role: &Role<S, Req, SeedIn<S, Req, C>>,
    setup: &C,
) -> CallerOutcomeIn<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    let first = role.is_leader();
    let Some((flight, _)) = membership.flight() else { return CallerOutcome::Panicked };
    let Some(result) = flight.result() else { return CallerOutcome::Panicked };
    let own = if first { result.take() } else { None };
    if !first
        && result.expired
        && Deadline::is_later(Deadline::current(), flight.start.terms.deadline)
    {
        return CallerOutcome::Restart;
    }
    if let Some(outcome) = own {
        return CallerOutcome::Own(outcome);
    }
    if result.is_for_others_to_spare
        && let Some(outcome) = spared(setup, role)
    {
        return outcome;
    }
    match &result.published {
        Published::Response { mode, shared, .. } => {
            let reader = if first { Reader::Leader } else { Reader::Follower };
            let response = mode.restore(shared, reader);
            // After it is restored: from then on its beginning is held for it.
            match mode.progress(shared) {
                Progress::Lost if !first => CallerOutcome::Bypass,
                _ => CallerOutcome::Shared(response),
            }
        }
        Published::Error(error) => {
            core.errors.share(error).map_or(CallerOutcome::Restart, CallerOutcome::Failed)
        }
        Published::CachedError(error, _) => {
            core.errors.share(error).map_or(CallerOutcome::Restart, CallerOutcome::Failed)
        }
        Published::Cached(kept) if !suits(setup, role, kept) => CallerOutcome::Bypass,
        Published::Cached(kept) => given(setup, kept).unwrap_or(CallerOutcome::Restart),
        // Whoever made the call has gone: its error is as good as one's own.
        Published::Restart if flight.has_leader_left() => {
            result.take().map_or(CallerOutcome::Restart, CallerOutcome::Own)
        }
        Published::Restart => CallerOutcome::Restart,
        Published::Bypass => CallerOutcome::Bypass,
        Published::Panicked => CallerOutcome::Panicked,
    }
}

/// What is kept, for one who waited. `None` if it is an error that cannot be shared any more.
fn given<S, Req, C>(setup: &C, kept: &KeptIn<S, Req, C>) -> Option<CallerOutcomeIn<S, Req, C>>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let stale = kept.freshness(Instant::now()) != EntryFreshness::Fresh;
    let outcome = restore(setup, kept, stale)?;
    hit(setup, stale);
    Some(outcome.map_or_else(CallerOutcome::Failed, CallerOutcome::Cached))
}

/// What is kept in place of a failure, as this caller wants it, where the first one did not.
#[cold]
fn spared<S, Req, C>(
    setup: &C,
    role: &Role<S, Req, SeedIn<S, Req, C>>,
) -> Option<CallerOutcomeIn<S, Req, C>>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    let Role::Follower(_, request, _) = role else { return None };
    let (key, wanted) = core.keys.key_and_freshness(&core.mode, request)?;
    let subject = core.keys.resource(&core.mode, &key);
    let typed_state =
        core.shared.state.registry.typed_state(|| TypedState::<S, Req, C>::new(setup));
    match core.shared.policy.lookup(&typed_state.shelf, &key, subject, Some(&wanted)) {
        CacheLookup::Found { kept, .. } | CacheLookup::Missing(Some(kept)) => {
            let instance = core.shared.settings.origin.name();
            tracing::debug!(name: "dedup.error_replaced", target: "buttress", instance);
            given(setup, &kept)
        }
        CacheLookup::Missing(None) => None,
    }
}
