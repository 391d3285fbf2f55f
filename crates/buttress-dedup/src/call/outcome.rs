use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use buttress_core::{
    Classify, Deadline, Degraded, Origin, Progress, Reader, Reason, Rejection, Respond, Share,
    Signals, Source, Verdict,
};
use tokio::time::Instant;

use super::{
    Call, Config, Entry, Outcome, RespondSeed, VerdictSeed,
    keyed_call::KeyedCall,
    result::Published,
    stage::{Role, Stage, bypass, panicked, restore},
    typed_state::{CallFlight, TypedState},
};
use crate::{
    FlightGuard, ShareError,
    cache::{CacheLookup, CachePolicy, EntryFreshness},
    flight::{Membership, SharedResult},
    key::KeySource,
};

/// The next step of a call whose flight has ended.
pub(crate) enum Next<C: Call> {
    /// The outcome of this caller.
    Outcome(Outcome<C>),
    /// The call goes on here.
    Stage(Stage<C>),
    /// The call begins again, with this service and this request.
    Restart(C::Service, C::Request),
}

/// Makes the outcome of a caller from the result of its flight, or returns what the call does next.
#[inline]
pub(crate) fn caller_outcome<C: Call>(
    membership: Membership<CallFlight<C>>,
    role: Role<C>,
    config: &Config<C>,
) -> Next<C> {
    let mode = &config.mode;
    // Sharing runs code of the user: `Clone` of a response, or the function that copies an error.
    let outcome = catch_unwind(AssertUnwindSafe(|| decide(&membership, &role, config)));
    let outcome = outcome.unwrap_or_else(|payload| {
        config.shared.panicked(payload);
        CallerOutcome::Panicked
    });
    if matches!(outcome, CallerOutcome::Restart | CallerOutcome::Bypass) {
        // Leaves before the next call starts, so that the flight does not keep a place for this caller.
        drop(membership);
        return match (role, outcome) {
            (Role::Follower(inner, request, _), CallerOutcome::Bypass) => {
                // The call counts as a follower already.
                config.shared.state.repeats.add();
                Next::Stage(bypass::<C>(config, inner, request))
            }
            (role, _) => restart(role, config),
        };
    }
    if let Some(result) = membership.flight().and_then(|(flight, _)| flight.result()) {
        if matches!(outcome, CallerOutcome::Replaced(_)) {
            result.signals.raise_spent();
            Signals::raise_degraded();
        } else {
            result.signals.raise();
        }
    }
    let seed = role.into_seed();
    match outcome {
        CallerOutcome::Own(outcome) => Next::Outcome(
            outcome.map(|response| mode.admit(seed, mode.own(response), None::<FlightGuard>)),
        ),
        CallerOutcome::Shared(response) => {
            let guard = if C::Mode::IS_COMPLETE {
                // Not left: the response is complete, and `publish` removes the flight from the table, in
                // `store_and_remove`.
                membership.forget();
                None
            } else {
                membership.into_guard()
            };
            Next::Outcome(Ok(mode.admit(seed, response, guard)))
        }
        CallerOutcome::Cached(outcome) | CallerOutcome::Replaced(outcome) => {
            Next::Outcome(outcome.map(|response| mode.admit(seed, response, None::<FlightGuard>)))
        }
        CallerOutcome::Failed(error) => Next::Outcome(Err(error)),
        CallerOutcome::Superseded(by) => {
            let why = Rejection::new(Reason::Superseded, Origin::new(by));
            Next::Outcome(mode.reject(seed, why))
        }
        CallerOutcome::Panicked | CallerOutcome::Restart | CallerOutcome::Bypass => {
            Next::Stage(panicked::<C>(config, seed))
        }
    }
}

/// Starts the call of a follower again.
pub(crate) fn restart<C: Call>(role: Role<C>, config: &Config<C>) -> Next<C> {
    match role {
        Role::Follower(inner, request, _) => Next::Restart(inner, request),
        // The request of a leader is gone: the flight made the call with it.
        Role::Leader(seed) => Next::Stage(panicked::<C>(config, seed)),
    }
}

/// Passes on the outcome of a call that was not shared, and invalidates the resource that it changed.
pub(crate) fn pass_on<C: Call>(
    outcome: Result<C::Response, C::Error>,
    seed: RespondSeed<C>,
    invalidates: Option<(u64, VerdictSeed<C>)>,
    config: &Config<C>,
) -> Outcome<C> {
    if let Some((resource, verdict_seed)) = invalidates
        && config.mode.classify(&verdict_seed, outcome.as_ref()) == Verdict::Success
    {
        // Before the caller gets the outcome, as in `poll_work`.
        config.shared.invalidate_resource(resource);
    }
    outcome.map(|response| config.mode.admit(seed, config.mode.own(response), None::<FlightGuard>))
}

/// Whether an entry satisfies the freshness that a follower wants. A leader's was checked before.
fn satisfies<C: Call>(config: &Config<C>, role: &Role<C>, entry: &Entry<C>) -> bool {
    let Role::Follower(_, request, _) = role else { return true };
    let lookup = config.keys.key_and_freshness(&config.mode, request);
    lookup.is_none_or(|(_, wanted)| config.shared.policy.satisfies(entry, Some(&wanted)))
}

/// The outcome of a caller, or its next step.
enum CallerOutcome<C: Call> {
    /// The inner outcome itself.
    Own(Result<C::Response, C::Error>),
    Shared(C::Body),
    Cached(Result<C::Body, C::Error>),
    /// A stale entry in place of a failure.
    Replaced(Result<C::Body, C::Error>),
    Failed(C::Error),
    /// The rejection of an inner layer with this pattern.
    Superseded(&'static str),
    /// The caller starts again: the first to do so leads another flight.
    Restart,
    /// The caller makes a call of its own.
    Bypass,
    Panicked,
}

fn decide<C: Call>(
    membership: &Membership<CallFlight<C>>,
    role: &Role<C>,
    config: &Config<C>,
) -> CallerOutcome<C> {
    let first = role.is_leader();
    let Some((flight, _)) = membership.flight() else { return CallerOutcome::Panicked };
    let Some(result) = flight.result() else { return CallerOutcome::Panicked };
    // The lock in `take` gives the outcome to a single caller. A follower may take it below, once the
    // leader has left.
    let own = if first { result.take() } else { None };
    if !first
        && result.expired
        && Deadline::is_later(Deadline::current(), flight.start.ambient.deadline)
    {
        drop_outcome_of_departed_leader::<C>(flight);
        return CallerOutcome::Restart;
    }
    if let Some(outcome) = own {
        return CallerOutcome::Own(outcome);
    }
    if let Some(verdict) = result.stale_for_others
        && let Some(outcome) = replace_with_stale::<C>(config, role, verdict)
    {
        return outcome;
    }
    match &result.published {
        Published::Response { mode, shared, .. } => {
            let reader = if first { Reader::Leader } else { Reader::Follower };
            let response = mode.restore(shared, reader);
            // Checked after `restore`, because only from then on the body holds its beginning for this
            // caller.
            match mode.progress(shared) {
                Progress::Lost if !first => CallerOutcome::Bypass,
                _ => CallerOutcome::Shared(response),
            }
        }
        Published::Error(error) => {
            config.errors.share(error).map_or(CallerOutcome::Restart, CallerOutcome::Failed)
        }
        Published::CachedError(error, _) => {
            config.errors.share(error).map_or(CallerOutcome::Restart, CallerOutcome::Failed)
        }
        Published::Cached(entry) if !satisfies::<C>(config, role, entry) => CallerOutcome::Bypass,
        Published::Cached(entry) => {
            restored::<C>(config, entry, result.instead_of).unwrap_or(CallerOutcome::Restart)
        }
        Published::Due(due) => {
            let outcome = if satisfies::<C>(config, role, &due.entry) {
                restored::<C>(config, &due.entry, None).unwrap_or(CallerOutcome::Restart)
            } else {
                CallerOutcome::Bypass
            };
            if let Some((inner, request)) = due.take() {
                refresh_due::<C>(config, &due.entry, &inner, request);
            }
            outcome
        }
        // The leader has left, so the first follower that comes takes its error. If the leader had taken
        // the error before, or `leave` runs meanwhile, the follower starts again.
        Published::Restart if flight.has_leader_left() => {
            result.take().map_or(CallerOutcome::Restart, CallerOutcome::Own)
        }
        Published::Restart | Published::Busy(_) => CallerOutcome::Restart,
        Published::Bypass => {
            drop_outcome_of_departed_leader::<C>(flight);
            CallerOutcome::Bypass
        }
        Published::Superseded(by) => CallerOutcome::Superseded(by),
        Published::Panicked => CallerOutcome::Panicked,
    }
}

/// Starts the refresh of an entry of a store, with the call that the flight has not made.
#[cold]
fn refresh_due<C: Call>(
    config: &Config<C>,
    entry: &Entry<C>,
    inner: &C::Service,
    request: C::Request,
) {
    let refresh = || {
        let Some(key) = config.keys.key(&config.mode, &request) else { return };
        let resource = config.keys.resource(&config.mode, &key);
        let typed_state = config.shared.state.registry.typed_state(|| TypedState::<C>::new(config));
        let call = KeyedCall { config, typed_state, inner, resource, wanted: None };
        let generation = typed_state.flights.generation();
        call.refresh(request, key, Arc::clone(entry), generation);
    };
    // A panic here must not take the entry from the caller.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(refresh)) {
        config.shared.panicked(payload);
    }
}

/// Drops an outcome that only the leader may take, if the leader has left. The outcome may hold a permit that
/// the own call of a follower needs. If the leader leaves later, `Flight::leave` drops the outcome.
#[cold]
fn drop_outcome_of_departed_leader<C: Call>(flight: &CallFlight<C>) {
    if flight.has_leader_left()
        && let Some(result) = flight.result()
    {
        result.drop_leaders_outcome();
    }
}

/// Restores an entry for a member, in place of a failure with the verdict `instead_of`, if there was one. `None` if
/// the entry is an error that cannot be shared any more.
fn restored<C: Call>(
    config: &Config<C>,
    entry: &Entry<C>,
    instead_of: Option<Verdict>,
) -> Option<CallerOutcome<C>> {
    let stale = entry.freshness(Instant::now()) != EntryFreshness::Fresh;
    let mut outcome = restore::<C>(config, entry, stale)?;
    config.shared.count_flight_hit(stale);
    let Some(verdict) = instead_of else { return Some(CallerOutcome::Cached(outcome)) };
    if let Ok(response) = &mut outcome {
        let origin = config.shared.settings.origin.clone();
        let degraded = Degraded::new(origin, Source::StaleCache, verdict).aged(entry.age());
        config.mode.mark_degraded(response, degraded);
    }
    Some(CallerOutcome::Replaced(outcome))
}

/// Looks up a stale entry in place of a failure, for a follower that accepts such an entry where the leader did not.
#[cold]
fn replace_with_stale<C: Call>(
    config: &Config<C>,
    role: &Role<C>,
    verdict: Verdict,
) -> Option<CallerOutcome<C>> {
    let Role::Follower(_, request, _) = role else { return None };
    let (key, wanted) = config.keys.key_and_freshness(&config.mode, request)?;
    let resource = config.keys.resource(&config.mode, &key);
    // Looked up now, and not when the call began: the entry may have been invalidated or renewed since.
    let typed_state = config.shared.state.registry.typed_state(|| TypedState::<C>::new(config));
    match config.shared.policy.lookup(&typed_state.cache, &key, resource, Some(&wanted)) {
        CacheLookup::Found { entry, .. } | CacheLookup::Missing(Some(entry)) => {
            let instance = config.shared.settings.origin.name();
            tracing::debug!(name: "dedup.error_replaced", target: "buttress", instance);
            restored::<C>(config, &entry, Some(verdict))
        }
        CacheLookup::Missing(None) => None,
    }
}
