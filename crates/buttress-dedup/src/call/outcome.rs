use std::panic::{AssertUnwindSafe, catch_unwind};

use buttress_core::{Classify, Deadline, Progress, Reader, Respond, Share, Verdict};
use tokio::time::Instant;

use super::{
    Err, FlightIn, Judged, KeptIn, Res, Shared,
    future::{ModeResponse, OutcomeIn, Role, SeedIn, Stage},
    oneshot::Oneshot,
    result::ForAll,
    start::enter,
    typed_state::PartOf,
};
use crate::{
    Inner, Policy, Seat, Setup, ShareError,
    cache::{Held, Look, State},
    flight::Member,
    key::Keys,
};

/// Makes this caller's own outcome of the flight's answer, or lets it go again, or alone.
#[inline]
pub(crate) fn land<S, Req, C>(
    member: Member<FlightIn<S, Req, C>>,
    role: Role<S, Req, SeedIn<S, Req, C>>,
    setup: &C,
) -> Result<OutcomeIn<S, Req, C>, Stage<S, Req, C>>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let mode = &setup.core().mode;
    // To share is to run the user's `Clone`, or whatever makes another one of an error.
    let fate = catch_unwind(AssertUnwindSafe(|| fate(&member, &role, setup)));
    let fate = fate.unwrap_or_else(|payload| {
        setup.core().shared.panicked(payload);
        Fate::Panicked
    });
    if matches!(fate, Fate::Again | Fate::Apart) {
        // Also so that the flight does not wait for somebody who goes elsewhere.
        drop(member);
        return Err(match (role, fate) {
            (Role::Later(inner, request, _), Fate::Apart) => apart(setup, inner, request),
            (role, _) => again(role, setup),
        });
    }
    if let Some(answer) = member.flight().and_then(|(flight, _)| flight.answer()) {
        answer.marks.leave();
    }
    let seed = role.into_seed();
    match fate {
        Fate::Own(outcome) => {
            Ok(outcome.map(|response| mode.admit(seed, mode.own(response), None::<Seat>)))
        }
        Fate::Shared(response) => {
            let seat = if C::Mode::IS_WHOLE {
                member.forget();
                None
            } else {
                member.into_seat()
            };
            Ok(Ok(mode.admit(seed, response, seat)))
        }
        Fate::Kept(response) => Ok(Ok(mode.admit(seed, response, None::<Seat>))),
        Fate::Failed(error) => Ok(Err(error)),
        Fate::Panicked | Fate::Again | Fate::Apart => Err(panicked(setup, seed)),
    }
}

/// Begins again, for one who waited for another's call.
pub(crate) fn again<S, Req, C>(role: Role<S, Req, SeedIn<S, Req, C>>, setup: &C) -> Stage<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    match role {
        Role::Later(inner, request, _) => enter(setup, &inner, request),
        // Whose request the flight carried has got what there was.
        Role::First(seed) => panicked(setup, seed),
    }
}

/// Hands on the outcome of a call that went alone.
pub(crate) fn hand_on<S, Req, C>(
    outcome: Result<S::Response, S::Error>,
    seed: SeedIn<S, Req, C>,
    changes: Option<(u64, Judged<S, Req, C>)>,
    setup: &C,
) -> OutcomeIn<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    if let Some((subject, judged)) = changes
        && core.mode.classify(&judged, outcome.as_ref()) == Verdict::Success
    {
        core.shared.changed(subject);
    }
    outcome.map(|response| core.mode.admit(seed, core.mode.own(response), None::<Seat>))
}

/// A call that goes alone.
pub(crate) fn apart<S, Req, C>(setup: &C, inner: S, request: Req) -> Stage<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    core.shared.state.apart.add();
    let seed = respond_seed(setup, &request);
    let changes = core
        .keys
        .changes(&core.mode, &request)
        .map(|subject| (subject, Classify::seed(&core.mode, &request)));
    let (call, setup) = (Box::pin(Oneshot::new(inner, request)), setup.clone());
    Stage::Apart { call, seed, changes, setup }
}

/// A call that met, or waited for, a panic.
#[cold]
pub(crate) fn panicked<S, Req, C>(setup: &C, seed: SeedIn<S, Req, C>) -> Stage<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    Stage::Answered(core.mode.reject(seed, core.shared.settings.panicked()))
}

/// A call that was to be answered with what is kept, and there is nothing that will do.
#[cold]
pub(crate) fn not_cached<S, Req, C>(setup: &C, request: &Req) -> Stage<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    let Shared { settings, .. } = &*core.shared;
    let why = settings.not_cached();
    let (instance, reason) = (settings.origin.name(), why.reason().as_str());
    tracing::debug!(name: "dedup.rejected", target: "buttress", instance, reason);
    Stage::Answered(core.mode.reject(respond_seed(setup, request), why))
}

/// Whether what is kept will do for a caller who waited for another's call.
fn suits<S, Req, C>(
    setup: &C,
    role: &Role<S, Req, SeedIn<S, Req, C>>,
    kept: &KeptIn<S, Req, C>,
) -> bool
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    let Role::Later(_, request, _) = role else { return true };
    let lookup = core.keys.lookup(&core.mode, request);
    lookup.is_none_or(|(_, wanted)| core.shared.policy.suits(kept, Some(&wanted)))
}

/// What is kept, as this caller's own outcome. `None` if it is an error that cannot be shared any more.
pub(crate) fn restore<S, Req, C>(
    setup: &C,
    kept: &KeptIn<S, Req, C>,
    stale: bool,
) -> Option<Result<ModeResponse<S, Req, C>, S::Error>>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    match kept.value() {
        Held::Response(shared) => {
            Some(Ok(core.mode.restore(shared, Reader::Kept { age: kept.age(), stale })))
        }
        Held::Error(error) => core.errors.share(error).map(Err),
    }
}

/// Whether somebody can be given what is kept: not if it is an error that cannot be shared.
pub(crate) fn can_restore<S, Req, C>(setup: &C, kept: &KeptIn<S, Req, C>) -> bool
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    match kept.value() {
        Held::Response(_) => true,
        Held::Error(error) => setup.core().errors.share(error).is_some(),
    }
}

/// Somebody is answered with what was kept.
#[inline]
pub(crate) fn hit<S, Req, C>(setup: &C, stale: bool)
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let Shared { state, settings, .. } = &*setup.core().shared;
    state.hits.add();
    if stale {
        state.stale.add();
    }
    let instance = settings.origin.name();
    tracing::trace!(name: "dedup.hit", target: "buttress", instance, stale);
}

pub(crate) fn respond_seed<S, Req, C>(setup: &C, request: &Req) -> SeedIn<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    Respond::seed(&setup.core().mode, request)
}

/// What becomes of one caller.
enum Fate<Res, Response, E> {
    /// The outcome itself is its.
    Own(Result<Res, E>),
    Shared(Response),
    Kept(Response),
    Failed(E),
    /// Another flight, led by whoever comes first.
    Again,
    /// A call of its own.
    Apart,
    Panicked,
}

type FateIn<S, Req, C> = Fate<Res<S, Req>, ModeResponse<S, Req, C>, Err<S, Req>>;

fn fate<S, Req, C>(
    member: &Member<FlightIn<S, Req, C>>,
    role: &Role<S, Req, SeedIn<S, Req, C>>,
    setup: &C,
) -> FateIn<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    let first = role.is_first();
    let Some((flight, _)) = member.flight() else { return Fate::Panicked };
    let Some(answer) = flight.answer() else { return Fate::Panicked };
    let own = if first { answer.take() } else { None };
    if !first && answer.expired && is_later(Deadline::current(), flight.launch.terms.deadline) {
        return Fate::Again;
    }
    if let Some(outcome) = own {
        return Fate::Own(outcome);
    }
    if answer.is_for_others_to_spare
        && let Some(fate) = spared(setup, role)
    {
        return fate;
    }
    match &answer.for_all {
        ForAll::Response { mode, shared, .. } => {
            let reader = if first { Reader::First } else { Reader::Later };
            let response = mode.restore(shared, reader);
            // After it is restored: from then on its beginning is held for it.
            match mode.progress(shared) {
                Progress::Lost if !first => Fate::Apart,
                _ => Fate::Shared(response),
            }
        }
        ForAll::Error(error) => core.errors.share(error).map_or(Fate::Again, Fate::Failed),
        ForAll::KeptError(error, _) => core.errors.share(error).map_or(Fate::Again, Fate::Failed),
        ForAll::Kept(kept) if !suits(setup, role, kept) => Fate::Apart,
        ForAll::Kept(kept) => given(setup, kept).unwrap_or(Fate::Again),
        // Whoever made the call has gone: its error is as good as one's own.
        ForAll::Again if flight.is_orphan() => answer.take().map_or(Fate::Again, Fate::Own),
        ForAll::Again => Fate::Again,
        ForAll::Apart => Fate::Apart,
        ForAll::Panicked => Fate::Panicked,
    }
}

/// What is kept, for one who waited. `None` if it is an error that cannot be shared any more.
fn given<S, Req, C>(setup: &C, kept: &KeptIn<S, Req, C>) -> Option<FateIn<S, Req, C>>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let stale = kept.state(Instant::now()) != State::Fresh;
    let outcome = restore(setup, kept, stale)?;
    hit(setup, stale);
    Some(outcome.map_or_else(Fate::Failed, Fate::Kept))
}

/// What is kept in place of a failure, as this caller wants it, where the first one did not.
#[cold]
fn spared<S, Req, C>(setup: &C, role: &Role<S, Req, SeedIn<S, Req, C>>) -> Option<FateIn<S, Req, C>>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    let Role::Later(_, request, _) = role else { return None };
    let (key, wanted) = core.keys.lookup(&core.mode, request)?;
    let subject = core.keys.subject(&core.mode, &key);
    let part = core.shared.state.registry.part(|| PartOf::<S, Req, C>::new(setup));
    match core.shared.policy.look(&part.shelf, &key, subject, Some(&wanted)) {
        Look::Found { kept, .. } | Look::Missing(Some(kept)) => {
            let instance = core.shared.settings.origin.name();
            tracing::debug!(name: "dedup.spared", target: "buttress", instance);
            given(setup, &kept)
        }
        Look::Missing(None) => None,
    }
}

/// Whether `a` is later than `b`, where `None` is later than any.
pub(crate) fn is_later(a: Option<Deadline>, b: Option<Deadline>) -> bool {
    match (a, b) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(a), Some(b)) => a > b,
    }
}
