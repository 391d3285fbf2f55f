use std::panic::{AssertUnwindSafe, catch_unwind};

use buttress_core::{Respond, WantedFreshness};

use super::{
    Call, Config, Entry,
    keyed_call::KeyedCall,
    stage::{Stage, bypass, can_restore, not_cached, own_call, panicked, respond_seed, restore},
    typed_state::{CallFlights, TypedState},
};
use crate::{
    FlightGuard,
    cache::{CacheControls, CacheLookup, CachePolicy},
    key::KeySource,
};

/// Starts a call: answers it from the cache, joins or leads a flight, or bypasses the layer.
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
            // The directive is for a cache further in, because this layer has none.
            return None;
        }
        let is_needed = C::Cache::CACHES || typed_state.cache.has_changed();
        let resource = if is_needed { config.keys.resource(&config.mode, &key) } else { None };
        Some((key, resource, wanted))
    };
    match catch_unwind(AssertUnwindSafe(keyed)) {
        Ok(Some((key, resource, wanted))) => {
            // `None` lets the cache skip the freshness check. Nearly all requests want nothing particular.
            let wanted = (wanted != WantedFreshness::default()).then_some(&wanted);
            let call = KeyedCall { config, typed_state, inner, resource, wanted };
            if C::Cache::CACHES {
                call.lookup_or_start(request, key)
            } else if config.shared.is_observed() {
                call.observe_or_lead(request, key)
            } else {
                match call.join_or_lead(request, key, None, None) {
                    Ok(stage) => stage,
                    Err(_) => unreachable!("without a cache the generation is not compared"),
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

impl<C: Call> KeyedCall<'_, C> {
    /// Answers the call from the cache, or joins or leads a flight.
    ///
    /// The generation is read before the lookup. If a result is cached between the lookup and the start, the
    /// generation has changed, the start gives the call back, and the next lookup finds the entry.
    fn lookup_or_start(self, mut request: C::Request, mut key: C::Key) -> Stage<C> {
        loop {
            let generation = self.typed_state.flights.generation();
            // A lookup runs code of the user: the store, `Hash` and `Eq` of the key, and `Clone` of a response.
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
                        // A panic here must not take the response from the caller.
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
            if self.config.shared.is_observed() && self.would_join(&key) {
                return self.observe(self.inner.clone(), request);
            }
            match self.join_or_lead(request, key, Some(generation), fallback) {
                Ok(stage) => return stage,
                // A result was cached between the lookup and the start.
                Err(call) => (request, key) = call,
            }
        }
    }

    /// Goes on with a call that would have been a hit. If a refresh of the entry is due and none is in
    /// progress, the call leads the flight that renews the entry, so that `observe` adds no call. Otherwise
    /// the call goes by itself.
    #[cold]
    #[inline(never)]
    fn observe_hit(&self, request: C::Request, key: C::Key, refresh_of: Option<u64>) -> Stage<C> {
        // After a panic of the key the call goes by itself.
        let is_in_progress = || {
            self.ask_table(&key, CallFlights::<C>::is_joinable).unwrap_or_else(|payload| {
                self.config.shared.panicked(payload);
                true
            })
        };
        let request = match refresh_of.filter(|_| !is_in_progress()) {
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

    /// Goes on with an observed call of a layer without a cache.
    #[cold]
    #[inline(never)]
    fn observe_or_lead(&self, request: C::Request, key: C::Key) -> Stage<C> {
        if self.would_join(&key) {
            return self.observe(self.inner.clone(), request);
        }
        match self.join_or_lead(request, key, None, None) {
            Ok(stage) => stage,
            Err((request, _)) => own_call(self.config, self.inner.clone(), request),
        }
    }

    #[inline]
    fn is_only_if_cached(&self) -> bool {
        self.wanted.is_some_and(|wanted| wanted.only_if_cached)
    }

    /// Looks up the entry and restores it for this caller.
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
}

/// The result of a lookup for a caller.
enum LookupResult<C: Call> {
    Hit {
        outcome: Result<C::Body, C::Error>,
        entry: Entry<C>,
        stale: bool,
        refresh: bool,
    },
    /// No entry can be served now. The value is an entry that may be served in place of a failure.
    Missing(Option<Entry<C>>),
}
