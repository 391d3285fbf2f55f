use std::panic::{AssertUnwindSafe, catch_unwind};

use buttress_core::{Classify, Deadline, Progress, Reader, Respond, Share, Verdict};
use tokio::time::Instant;

use super::{
    Err, FlightIn, Judged, KeptIn, Res,
    result::Published,
    stage::{ModeResponse, OutcomeIn, Role, SeedIn, Stage, bypass, hit, panicked, restore},
    typed_state::TypedState,
};
use crate::{
    CachePolicy, FlightGuard, Setup, ShareError, SharedService,
    cache::{CacheLookup, EntryFreshness},
    flight::Membership,
    key::KeySource,
};

/// The next step of a call whose flight has ended.
pub(crate) enum Next<O, T, S, Req> {
    /// The outcome of this caller.
    Outcome(O),
    /// The call goes on here.
    Stage(T),
    /// The call begins again, with this service and this request.
    Restart(S, Req),
}

type NextIn<S, Req, C> = Next<OutcomeIn<S, Req, C>, Stage<S, Req, C>, S, Req>;

/// Makes this caller's own outcome of the flight's answer, or lets it go again, or alone.
#[inline]
pub(crate) fn caller_outcome<S, Req, C>(
    membership: Membership<FlightIn<S, Req, C>>,
    role: Role<S, Req, SeedIn<S, Req, C>>,
    setup: &C,
) -> NextIn<S, Req, C>
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
        return match (role, outcome) {
            (Role::Follower(inner, request, _), CallerOutcome::Bypass) => {
                Next::Stage(bypass(setup, inner, request))
            }
            (role, _) => restart(role, setup),
        };
    }
    if let Some(result) = membership.flight().and_then(|(flight, _)| flight.result()) {
        result.signals.raise();
    }
    let seed = role.into_seed();
    match outcome {
        CallerOutcome::Own(outcome) => Next::Outcome(
            outcome.map(|response| mode.admit(seed, mode.own(response), None::<FlightGuard>)),
        ),
        CallerOutcome::Shared(response) => {
            let seat = if C::Mode::IS_COMPLETE {
                membership.forget();
                None
            } else {
                membership.into_seat()
            };
            Next::Outcome(Ok(mode.admit(seed, response, seat)))
        }
        CallerOutcome::Cached(response) => {
            Next::Outcome(Ok(mode.admit(seed, response, None::<FlightGuard>)))
        }
        CallerOutcome::Failed(error) => Next::Outcome(Err(error)),
        CallerOutcome::Panicked | CallerOutcome::Restart | CallerOutcome::Bypass => {
            Next::Stage(panicked(setup, seed))
        }
    }
}

/// Begins again, for one who waited for another's call.
pub(crate) fn restart<S, Req, C>(
    role: Role<S, Req, SeedIn<S, Req, C>>,
    setup: &C,
) -> NextIn<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    match role {
        Role::Follower(inner, request, _) => Next::Restart(inner, request),
        // Whose request the flight carried has got what there was.
        Role::Leader(seed) => Next::Stage(panicked(setup, seed)),
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
