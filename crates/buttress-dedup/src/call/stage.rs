use std::{mem, pin::Pin};

use buttress_core::{Classify, Reader, Respond, Share};

use super::{
    Call, Config, Entry, Outcome, RespondSeed, SharedConfig, VerdictSeed, oneshot::Oneshot,
    typed_state::CallFlight,
};
use crate::{ShareError, cache::CachedOutcome, flight::Membership, key::KeySource};

/// The stage of a call.
pub(crate) enum Stage<C: Call> {
    /// The outcome is known.
    Done(Outcome<C>),
    /// The call waits for a flight.
    Waiting {
        membership: Membership<CallFlight<C>>,
        role: Role<C>,
        config: Config<C>,
    },
    /// The call bypasses the flights. If it succeeds and `invalidates` is set, that resource is invalidated.
    Bypass {
        // Boxed, because inline it would double the size of every response future.
        call: Pin<Box<Oneshot<C::Service, C::Request>>>,
        seed: RespondSeed<C>,
        invalidates: Option<(u64, VerdictSeed<C>)>,
        config: Config<C>,
    },
    Ended,
}

impl<C: Call> Stage<C> {
    #[inline]
    pub(crate) fn end(&mut self) -> Self {
        mem::replace(self, Self::Ended)
    }
}

/// The role of a caller in its flight.
pub(crate) enum Role<C: Call> {
    /// The flight makes the call with the request of this caller.
    Leader(RespondSeed<C>),
    /// The flight makes another caller's call. This caller keeps its service and request, in case it must
    /// make a call of its own.
    Follower(C::Service, C::Request, RespondSeed<C>),
}

impl<C: Call> Role<C> {
    pub(crate) fn into_seed(self) -> RespondSeed<C> {
        let (Self::Leader(seed) | Self::Follower(_, _, seed)) = self;
        seed
    }

    pub(crate) const fn is_leader(&self) -> bool {
        matches!(self, Self::Leader(_))
    }
}

/// A call that bypasses the flights.
pub(crate) fn bypass<C: Call>(
    config: &Config<C>,
    inner: C::Service,
    request: C::Request,
) -> Stage<C> {
    config.shared.state.bypassed.add();
    own_call(config, inner, request)
}

/// A call of its own that the caller has counted: as [`bypass`], or as what it would have been.
pub(crate) fn own_call<C: Call>(
    config: &Config<C>,
    inner: C::Service,
    request: C::Request,
) -> Stage<C> {
    let seed = respond_seed::<C>(config, &request);
    let invalidates = config
        .keys
        .invalidates(&config.mode, &request)
        .map(|resource| (resource, Classify::seed(&config.mode, &request)));
    // Boxed: a bypass is rare, and inline its future would make that of every call larger.
    let (call, config) = (Box::pin(Oneshot::new(inner, request)), config.clone());
    Stage::Bypass { call, seed, invalidates, config }
}

/// A call that met a panic, or waited for work that panicked.
#[cold]
pub(crate) fn panicked<C: Call>(config: &Config<C>, seed: RespondSeed<C>) -> Stage<C> {
    Stage::Done(config.mode.reject(seed, config.shared.settings.panicked()))
}

/// A call that wanted only a cached response, and no entry satisfies it.
#[cold]
pub(crate) fn not_cached<C: Call>(config: &Config<C>, request: &C::Request) -> Stage<C> {
    let SharedConfig { settings, state, .. } = &*config.shared;
    state.ended_early.add();
    let why = settings.not_cached();
    let (instance, reason) = (settings.origin.name(), why.reason().as_str());
    tracing::debug!(name: "dedup.rejected", target: "buttress", instance, reason);
    Stage::Done(config.mode.reject(respond_seed::<C>(config, request), why))
}

/// Restores an entry for a caller. `None` if the entry is an error that cannot be shared any more.
pub(crate) fn restore<C: Call>(
    config: &Config<C>,
    entry: &Entry<C>,
    stale: bool,
) -> Option<Result<C::Body, C::Error>> {
    match entry.value() {
        CachedOutcome::Response(shared) => {
            Some(Ok(config.mode.restore(shared, Reader::cached(entry.age(), stale))))
        }
        CachedOutcome::Error(error) => config.errors.share(error).map(Err),
    }
}

/// Whether an entry can be restored: not if it is an error that cannot be shared any more.
pub(crate) fn can_restore<C: Call>(config: &Config<C>, entry: &Entry<C>) -> bool {
    match entry.value() {
        CachedOutcome::Response(_) => true,
        CachedOutcome::Error(error) => config.errors.share(error).is_some(),
    }
}

pub(crate) fn respond_seed<C: Call>(config: &Config<C>, request: &C::Request) -> RespondSeed<C> {
    Respond::seed(&config.mode, request)
}
