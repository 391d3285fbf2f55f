use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use buttress_core::{Ambient, Attempt, Classify, Enforcement, Respond, WantedFreshness};

use super::{
    Call, Config, Entry, RespondSeed, SharedConfig,
    refresh::Refresh,
    result::FlightResult,
    stage::{
        Role, Stage, bypass, can_restore, not_cached, own_call, panicked, respond_seed, restore,
    },
    typed_state::TypedState,
    work::Work,
};
use crate::{
    FlightGuard,
    cache::{CacheControls, CacheLookup, CachePolicy, Fetch, KeyInfo},
    flight::{FlightStart, Joined, Membership},
    key::KeySource,
};

/// Lets a call begin: with what is kept, in a flight, or alone.
#[inline]
pub(crate) fn start<C: Call>(
    config: &Config<C>,
    inner: &C::Service,
    request: C::Request,
) -> Stage<C> {
    let typed_state = config.shared.state.registry.typed_state(|| TypedState::<C>::new(config));
    let keyed = || {
        let (key, wanted) = config.keys.key_and_freshness(&config.mode, &request)?;
        if wanted.only_if_cached && !C::Cache::CACHES {
            // For a cache further on: this layer is none.
            return None;
        }
        let is_needed = C::Cache::CACHES || typed_state.cache.has_changed();
        let resource = if is_needed { config.keys.resource(&config.mode, &key) } else { None };
        Some((key, resource, wanted))
    };
    match catch_unwind(AssertUnwindSafe(keyed)) {
        Ok(Some((key, resource, wanted))) => {
            // Nearly all want nothing particular, and none does in a mode that does not say so.
            let wanted = (wanted != WantedFreshness::default()).then_some(&wanted);
            let call = KeyedCall { config, typed_state, inner, resource, wanted };
            if C::Cache::CACHES {
                call.lookup_or_start(request, key)
            } else {
                match call.join_or_lead(request, key, None, None) {
                    Ok(stage) => stage,
                    Err(_) => unreachable!("nothing lands where nothing is kept"),
                }
            }
        }
        Ok(None) => bypass::<C>(config, inner.clone(), request),
        Err(payload) => {
            config.shared.panicked_early(payload);
            panicked::<C>(config, respond_seed::<C>(config, &request))
        }
    }
}

/// A call with a key.
struct KeyedCall<'a, C: Call> {
    config: &'a Config<C>,
    typed_state: &'a TypedState<C>,
    inner: &'a C::Service,
    resource: Option<u64>,
    /// `None` for any answer that may be given out.
    wanted: Option<&'a WantedFreshness>,
}

impl<C: Call> KeyedCall<'_, C> {
    /// Takes what is kept, or starts.
    fn lookup_or_start(self, mut request: C::Request, mut key: C::Key) -> Stage<C> {
        loop {
            let generation = self.typed_state.flights.generation();
            // A store asks for the key's `Hash` and `Eq`, and to restore is to run the user's `Clone`.
            let result = match catch_unwind(AssertUnwindSafe(|| self.lookup(&key))) {
                Ok(result) => result,
                Err(payload) => {
                    self.config.shared.panicked_early(payload);
                    return panicked::<C>(self.config, respond_seed::<C>(self.config, &request));
                }
            };
            let fallback = match result {
                LookupResult::Missing(_) if self.is_only_if_cached() => {
                    if self.config.shared.is_observed() {
                        return bypass(self.config, self.inner.clone(), request);
                    }
                    return not_cached::<C>(self.config, &request);
                }
                // An observed call keeps its own failure.
                LookupResult::Missing(fallback) => {
                    fallback.filter(|_| !self.config.shared.is_observed())
                }
                LookupResult::Hit { outcome, entry, stale, refresh } => {
                    self.config.shared.count_hit(stale);
                    if self.config.shared.is_observed() {
                        let is_due = refresh && !self.is_only_if_cached();
                        return self.observe_hit(request, key, is_due.then_some(generation));
                    }
                    let seed = respond_seed::<C>(self.config, &request);
                    if refresh && !self.is_only_if_cached() {
                        // The answer is there, whatever becomes of a newer one.
                        let refresh = || self.refresh(request, key, entry, generation);
                        if let Err(payload) = catch_unwind(AssertUnwindSafe(refresh)) {
                            self.config.shared.panicked(payload);
                        }
                    }
                    let admit =
                        |response| self.config.mode.admit(seed, response, None::<FlightGuard>);
                    return Stage::Done(outcome.map(admit));
                }
            };
            match self.join_or_lead(request, key, Some(generation), fallback) {
                Ok(stage) => return stage,
                // An answer came between the look and the start.
                Err(call) => (request, key) = call,
            }
        }
    }

    /// Goes on with a call that would have been a hit. If a refresh of the entry is due, the call leads
    /// the flight that renews the entry, so that `observe` adds no call. Otherwise it goes by itself.
    #[cold]
    fn observe_hit(&self, request: C::Request, key: C::Key, refresh_of: Option<u64>) -> Stage<C> {
        let request = match refresh_of {
            None => request,
            generation => match self.join_or_lead(request, key, generation, None) {
                Ok(stage) => {
                    self.config.shared.state.refreshes.add();
                    return stage;
                }
                Err((request, _)) => request,
            },
        };
        own_call(self.config, self.inner.clone(), request)
    }

    #[inline]
    fn is_only_if_cached(&self) -> bool {
        self.wanted.is_some_and(|wanted| wanted.only_if_cached)
    }

    /// What is kept, as this caller's own outcome.
    #[inline]
    fn lookup(&self, key: &C::Key) -> LookupResult<C> {
        let policy = &self.config.shared.policy;
        match policy.lookup(&self.typed_state.cache, key, self.resource, self.wanted) {
            CacheLookup::Missing(fallback) => LookupResult::Missing(
                fallback.filter(|fallback| can_restore::<C>(self.config, fallback)),
            ),
            CacheLookup::Found { entry, stale, refresh } => {
                match restore::<C>(self.config, &entry, stale) {
                    Some(outcome) => LookupResult::Hit { outcome, entry, stale, refresh },
                    None => LookupResult::Missing(None),
                }
            }
        }
    }

    /// Joins a flight or starts one. Gives everything back if the `generation` has changed in the meantime.
    #[inline]
    fn join_or_lead(
        &self,
        request: C::Request,
        key: C::Key,
        generation: Option<u64>,
        fallback: Option<Entry<C>>,
    ) -> Begin<C> {
        let seed = respond_seed::<C>(self.config, &request);
        let ambient = Ambient::current();
        // A clone is the service's own code, so not under the lock.
        let mut call = Some((self.inner.clone(), request));
        let join = || {
            let start = self.begin(&key, ambient);
            if self.config.shared.is_observed()
                && self.typed_state.flights.observe_join(&key, &start)
            {
                return Ok(Joined::Observed);
            }
            if C::Cache::CACHES
                && let Some(joined) = self.typed_state.flights.join(
                    &key,
                    start.hash,
                    ambient,
                    start.resource_generation,
                )
            {
                return Ok(joined);
            }
            self.lead(&mut call, key, start, generation, fallback)
        };
        // The key's `Hash` and `Eq` are the user's.
        match catch_unwind(AssertUnwindSafe(join)) {
            Ok(Ok(joined)) => Ok(self.stage_of(joined, call, seed)),
            Err(payload) => {
                self.config.shared.panicked_early(payload);
                Ok(panicked::<C>(self.config, seed))
            }
            Ok(Err(key)) => match call {
                Some((_, request)) => Err((request, key)),
                None => unreachable!("a call that was taken has started"),
            },
        }
    }

    /// How a flight of `key` would begin.
    #[inline]
    fn begin(&self, key: &C::Key, ambient: Ambient) -> FlightStart {
        let hash = self.typed_state.flights.hash(key);
        // Before the call is made: what changes from here on ends the flight for those who come after.
        let resource_generation = self.typed_state.cache.resource_generation(self.resource);
        FlightStart { hash, ambient, attempt: Attempt::current(), resource_generation }
    }

    /// Joins a flight, or starts one with the call.
    #[inline]
    fn lead(
        &self,
        call: &mut Option<(C::Service, C::Request)>,
        key: C::Key,
        start: FlightStart,
        generation: Option<u64>,
        fallback: Option<Entry<C>>,
    ) -> Result<JoinedIn<C>, C::Key> {
        let policy = &self.config.shared.policy;
        let Some((_, request)) = call.as_ref() else { unreachable!("a call starts once") };
        let verdict_seed = Classify::seed(&self.config.mode, request);
        let invalidates = self.config.keys.invalidates(&self.config.mode, request);
        let controls = &self.typed_state.cache;
        let weight =
            if C::Cache::CACHES { self.config.keys.weight(&self.config.mode, &key) } else { 0 };
        let info = KeyInfo { resource: self.resource, weight, wanted: self.wanted.copied() };
        let plan = policy.plan(&self.config.mode, controls, request, &key, info, fallback);
        let mut fetch = policy.fetch(&plan);
        let valid = policy.valid_flag(&plan);
        let is_store_slow = fetch.is_some() && policy.is_store_slow(&plan);
        self.typed_state.flights.start(key, start, valid, generation, |is_late| match call.take() {
            Some((inner, request)) => {
                // Before it is a part of the work, which is better made in its place than moved there.
                if let Some(fetch) = fetch.as_mut().filter(|_| is_late || is_store_slow) {
                    fetch.hasten();
                }
                Work::new(inner, request, (plan, verdict_seed, invalidates), fetch)
            }
            None => unreachable!("a call starts once"),
        })
    }

    #[inline]
    fn stage_of(
        &self,
        joined: JoinedIn<C>,
        call: Option<(C::Service, C::Request)>,
        seed: RespondSeed<C>,
    ) -> Stage<C> {
        match (joined, call) {
            (Joined::Follower(flight, member), Some((inner, request))) => {
                self.report_join();
                if self.config.shared.is_observed() {
                    // The flight began after `observe_join` had looked.
                    drop(Membership::new(flight, member));
                    return own_call(self.config, inner, request);
                }
                flight.watch(member);
                let role = Role::Follower(inner, request, seed);
                let (membership, config) = (Membership::new(flight, member), self.config.clone());
                Stage::Waiting { membership, role, config }
            }
            (Joined::Observed, Some((inner, request))) => {
                self.report_join();
                own_call(self.config, inner, request)
            }
            (Joined::Reentrant, Some((inner, request))) => bypass(self.config, inner, request),
            (Joined::Leader(flight, member) | Joined::Follower(flight, member), _) => {
                let (membership, config) = (Membership::new(flight, member), self.config.clone());
                Stage::Waiting { membership, role: Role::Leader(seed), config }
            }
            (Joined::Reentrant | Joined::Observed, None) => panicked::<C>(self.config, seed),
        }
    }

    #[inline]
    fn report_join(&self) {
        let SharedConfig { settings, .. } = &*self.config.shared;
        let instance = settings.origin.name();
        let observed = settings.enforcement == Enforcement::Observe;
        tracing::trace!(name: "dedup.joined", target: "buttress", instance, observed);
    }

    /// Has a newer answer fetched, if nobody does so already, unless the `generation` has changed since the look.
    #[cold]
    fn refresh(&self, request: C::Request, key: C::Key, entry: Entry<C>, generation: u64) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let SharedConfig { policy, state, settings } = &*self.config.shared;
        if !policy.claim_refresh(&entry) {
            return;
        }
        let fallback = Some(Arc::clone(&entry));
        let refresh = Refresh::new(self.config.clone(), Arc::clone(&self.typed_state.cache), entry);
        let ambient = policy.refresh_ambient();
        let mut call = Some((self.inner.clone(), request));
        // It is nobody's second attempt, and for all who come later.
        let for_all = Self { wanted: None, ..*self };
        let lead = || {
            let start = for_all.begin(&key, ambient);
            for_all.lead(&mut call, key, start, Some(generation), fallback)
        };
        let (flight, member) = match Attempt::FIRST.with(lead) {
            Ok(Joined::Leader(flight, member)) => (flight, member),
            Ok(Joined::Follower(flight, member)) => {
                state.repeats.add();
                drop(Membership::new(flight, member));
                return refresh.cancel();
            }
            Ok(Joined::Reentrant | Joined::Observed) | Err(_) => return refresh.cancel(),
        };
        state.refreshes.add();
        let instance = settings.origin.name();
        tracing::debug!(name: "dedup.refresh_started", target: "buttress", instance);
        runtime.spawn(refresh.run(Membership::new(flight, member), ambient));
    }
}

/// What was found for a key.
enum LookupResult<C: Call> {
    Hit {
        outcome: Result<C::Body, C::Error>,
        entry: Entry<C>,
        stale: bool,
        refresh: bool,
    },
    /// Nothing, but for what may serve in place of a failure.
    Missing(Option<Entry<C>>),
}

/// A call that has begun, or is given back.
type Begin<C> = Result<Stage<C>, (<C as Call>::Request, <C as Call>::Key)>;

type JoinedIn<C> = Joined<<C as Call>::Key, Work<C>, FlightResult<C>>;
