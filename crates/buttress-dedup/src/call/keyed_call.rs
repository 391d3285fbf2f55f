use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use buttress_core::{Ambient, Attempt, Classify, MemberId, WantedFreshness};

use super::{
    Call, Config, Entry, RespondSeed, SharedConfig,
    refresh::Refresh,
    result::FlightResult,
    stage::{Role, Stage, bypass, own_call, panicked, respond_seed},
    typed_state::{CallFlight, CallFlights, TypedState},
    work::Work,
};
use crate::{
    cache::{CacheControls, CachePolicy, Fetch, KeyInfo},
    flight::{FlightStart, Joined, Membership},
    key::KeySource,
};

/// A call with a key.
pub(crate) struct KeyedCall<'a, C: Call> {
    pub(crate) config: &'a Config<C>,
    pub(crate) typed_state: &'a TypedState<C>,
    pub(crate) inner: &'a C::Service,
    pub(crate) resource: Option<u64>,
    /// `None` accepts any entry that may be served.
    pub(crate) wanted: Option<&'a WantedFreshness>,
}

impl<C: Call> KeyedCall<'_, C> {
    /// Joins a flight or starts a new flight. Gives the call back if the `generation` has changed since the lookup.
    #[inline]
    pub(crate) fn join_or_lead(
        &self,
        request: C::Request,
        key: C::Key,
        generation: Option<u64>,
        fallback: Option<Entry<C>>,
    ) -> Begin<C> {
        let seed = respond_seed::<C>(self.config, &request);
        let ambient = Ambient::current();
        // Cloned before the lock of the shard is taken, because `Clone` is code of the user.
        let mut call = Some((self.inner.clone(), request));
        let join = || {
            let start = self.begin(&key, ambient);
            if C::Cache::CACHES
                && let Some(joined) = self.typed_state.flights.join(&key, &start)
            {
                return Ok(joined);
            }
            self.lead(&mut call, key, start, generation, (fallback, false))
        };
        // `Hash` and `Eq` of the key are code of the user. They are all that runs under the lock of a shard.
        match catch_unwind(AssertUnwindSafe(join)) {
            Ok(Ok(joined)) => Ok(self.stage_of(joined, call, seed)),
            Err(payload) => {
                self.config.shared.panicked_early(payload);
                Ok(panicked::<C>(self.config, seed))
            }
            Ok(Err(key)) => match call {
                Some((_, request)) => Err((request, key)),
                None => unreachable!("a call that is given back was not taken"),
            },
        }
    }

    /// The start of a flight of `key`.
    #[inline]
    fn begin(&self, key: &C::Key, ambient: Ambient) -> FlightStart {
        let hash = self.typed_state.flights.hash(key);
        // Read before the call is made: a change from here on closes the flight to later callers.
        let resource_generation = self.typed_state.cache.resource_generation(self.resource);
        FlightStart { hash, ambient, attempt: Attempt::current(), resource_generation }
    }

    /// Joins a flight, or leads a new flight with `call`.
    #[inline]
    fn lead(
        &self,
        call: &mut Option<(C::Service, C::Request)>,
        key: C::Key,
        start: FlightStart,
        generation: Option<u64>,
        (fallback, is_refresh): (Option<Entry<C>>, bool),
    ) -> Result<JoinedIn<C>, C::Key> {
        let policy = &self.config.shared.policy;
        let Some((_, request)) = call.as_ref() else { unreachable!("a call starts once") };
        let verdict_seed = Classify::seed(&self.config.mode, request);
        let invalidates = self.config.keys.invalidates(&self.config.mode, request);
        let controls = &self.typed_state.cache;
        let weight =
            if C::Cache::CACHES { self.config.keys.weight(&self.config.mode, &key) } else { 0 };
        let (resource, wanted) = (self.resource, self.wanted.copied());
        let info = KeyInfo { resource, weight, wanted, is_refresh };
        let plan = policy.plan(&self.config.mode, controls, request, &key, info, fallback);
        // Before `FlightTable::start` takes the lock, because the plan and the read run code of the user.
        // If `start` joins a flight or gives the key back, both are dropped unused.
        let mut fetch = policy.fetch(&plan);
        let valid = policy.valid_flag(&plan);
        let is_store_slow = fetch.is_some() && policy.is_store_slow(&plan);
        let work = |is_late| match call.take() {
            Some((inner, request)) => {
                // Set before the work is made, because the work is made in its slot and never moved.
                if let Some(fetch) = fetch.as_mut().filter(|_| is_late || is_store_slow) {
                    fetch.hasten();
                }
                Work::new(inner, request, (plan, verdict_seed, invalidates), fetch)
            }
            None => unreachable!("a call starts once"),
        };
        self.typed_state.flights.start(key, start, valid, generation, work)
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
                if self.config.shared.is_observed() {
                    // The flight began after `would_join` had looked.
                    return self.observe_member(flight, member, inner, request);
                }
                let instance = self.config.shared.settings.origin.name();
                tracing::trace!(name: "dedup.joined", target: "buttress", instance, observed = false);
                flight.watch(member);
                let role = Role::Follower(inner, request, seed);
                let (membership, config) = (Membership::new(flight, member), self.config.clone());
                Stage::Waiting { membership, role, config }
            }
            (Joined::Reentrant, Some((inner, request))) => bypass(self.config, inner, request),
            (Joined::Leader(flight, member) | Joined::Follower(flight, member), _) => {
                let (membership, config) = (Membership::new(flight, member), self.config.clone());
                Stage::Waiting { membership, role: Role::Leader(seed), config }
            }
            (Joined::Reentrant, None) => panicked::<C>(self.config, seed),
        }
    }

    /// Counts an observed call that would join a flight. Out of line, to keep the other calls fast.
    #[cold]
    #[inline(never)]
    pub(crate) fn would_join(&self, key: &C::Key) -> bool {
        self.ask_table(key, CallFlights::<C>::observe_join).unwrap_or_else(|payload| {
            self.config.shared.panicked_early(payload);
            false
        })
    }

    /// Asks the table about the flight of `key`. `Hash` and `Eq` of the key may panic, as in `join_or_lead`.
    #[cold]
    pub(super) fn ask_table(
        &self,
        key: &C::Key,
        ask: impl FnOnce(&CallFlights<C>, &C::Key, &FlightStart) -> bool,
    ) -> Result<bool, Box<dyn Any + Send>> {
        let ask = || ask(&self.typed_state.flights, key, &self.begin(key, Ambient::current()));
        catch_unwind(AssertUnwindSafe(ask))
    }

    /// Reports a call that would have joined a flight, and lets the call go by itself.
    #[cold]
    #[inline(never)]
    pub(crate) fn observe(&self, inner: C::Service, request: C::Request) -> Stage<C> {
        let instance = self.config.shared.settings.origin.name();
        tracing::trace!(name: "dedup.joined", target: "buttress", instance, observed = true);
        own_call(self.config, inner, request)
    }

    /// Leaves a flight that an observed call has joined.
    #[cold]
    #[inline(never)]
    fn observe_member(
        &self,
        flight: Arc<CallFlight<C>>,
        member: MemberId,
        inner: C::Service,
        request: C::Request,
    ) -> Stage<C> {
        drop(Membership::new(flight, member));
        self.observe(inner, request)
    }

    /// Starts a background refresh of `entry`, unless a refresh is in progress or the `generation` has changed
    /// since the lookup.
    #[cold]
    pub(crate) fn refresh(
        &self,
        request: C::Request,
        key: C::Key,
        entry: Entry<C>,
        generation: u64,
    ) {
        // Before the claim: without a runtime no task would end it, and the entry would never be refreshed.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let SharedConfig { policy, state, settings } = &*self.config.shared;
        // Before the claim too: `Clone` of a mode is code of the user. A panic would leave the claim for ever.
        let config = self.config.clone();
        if !policy.claim_refresh(&entry) {
            return;
        }
        let fallback = Some(Arc::clone(&entry));
        // From here on the drop of `refresh` ends the claim, also if code of the user panics in `lead`.
        let refresh = Refresh::new(config, Arc::clone(&self.typed_state.cache), entry);
        let ambient = policy.refresh_ambient();
        let mut call = Some((self.inner.clone(), request));
        // The refresh is a first attempt, and it serves all later callers, so no caller's freshness applies.
        let for_all = Self { wanted: None, ..*self };
        let lead = || {
            let start = for_all.begin(&key, ambient);
            for_all.lead(&mut call, key, start, Some(generation), (fallback, true))
        };
        let (flight, member) = match Attempt::FIRST.with(lead) {
            Ok(Joined::Leader(flight, member)) => (flight, member),
            Ok(Joined::Follower(flight, member)) => {
                state.repeats.add();
                drop(Membership::new(flight, member));
                return refresh.cancel();
            }
            Ok(Joined::Reentrant) | Err(_) => return refresh.cancel(),
        };
        state.refreshes.add();
        let instance = settings.origin.name();
        tracing::debug!(name: "dedup.refresh_started", target: "buttress", instance);
        // If the runtime has shut down, `spawn` drops the future: the flight is left, and the drop of
        // `Refresh` counts a failure.
        runtime.spawn(refresh.run(Membership::new(flight, member), ambient));
    }
}

/// A call that has started, or is given back.
type Begin<C> = Result<Stage<C>, (<C as Call>::Request, <C as Call>::Key)>;

type JoinedIn<C> = Joined<<C as Call>::Key, Work<C>, FlightResult<C>>;
