use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use buttress_control::Random;
use buttress_core::{
    Ambient, Criticality, Deadline, Expire, Judge, Lifetime, Reason, Share, Verdict,
    WantedFreshness,
};
use tokio::time::Instant;

use super::{
    Answer, Asked, Cache, CacheLookup, CachePolicy, Decision, EntryFor, FetchedFor, KeyInfo,
    ValidFlag,
    entry::EntryFreshness,
    fetch::Paced,
    invalidations::Invalidations,
    options::CacheOptions,
    pending::{CachePlan, CacheState, CacheWriter},
};
use crate::{CacheEntry, CachedOutcome, OpenStore, Store};

impl<M, K, Req, Res, E, St, J> CachePolicy<M, K, Req, Res, E> for Cache<St, J>
where
    M: Share<Res> + Expire<Req, Res>,
    K: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
    St: OpenStore<K, CachedOutcome<M::Shared, E>>,
    J: Judge<M, Req, Res, E, Seed: Send + 'static> + Send + Sync + 'static,
{
    type Controls = CacheState<St::Store>;
    type Plan = CachePlan<
        K,
        CachedOutcome<M::Shared, E>,
        St::Store,
        <M as Expire<Req, Res>>::Seed,
        J::Seed,
    >;
    type Fetch = Paced<<St::Store as Store<K, CachedOutcome<M::Shared, E>>>::Fetch>;
    type Lease = <St::Store as Store<K, CachedOutcome<M::Shared, E>>>::Lease;
    type Write = CacheWriter<K, St::Store, Self::Lease>;
    const CACHES: bool = true;

    fn open(&self, instance: &str) -> Self::Controls {
        let seed = self.options.seed.unwrap_or_else(|| fastrand::u64(..));
        CacheState {
            store: self.store.open(instance),
            invalidations: Invalidations::default(),
            is_store_slow: AtomicBool::new(false),
            random: Random::seeded(seed),
        }
    }

    #[inline]
    fn lookup(
        &self,
        state: &Self::Controls,
        key: &K,
        resource: Option<u64>,
        wanted: Option<&WantedFreshness>,
    ) -> CacheLookup<EntryFor<M, Res, E>> {
        let Some(entry) = state.store.get(key) else { return CacheLookup::Missing(None) };
        // An entry may be in the store although its flag is cleared: `CacheWriter::write` inserts before
        // its second check.
        if !entry.is_valid()
            || entry.resource_generation() != state.invalidations.generation(resource)
        {
            return CacheLookup::Missing(None);
        }
        let now = Instant::now();
        if !state.store.holds(&entry, now) || !entry.satisfies(wanted, now) {
            return CacheLookup::Missing(None);
        }
        match entry.freshness(now) {
            EntryFreshness::Fresh => {
                let refresh = self.options.is_refresh_due(&state.random, &entry, now);
                CacheLookup::Found { entry, stale: false, refresh }
            }
            EntryFreshness::Stale => {
                // A hint: several calls may see `true`, and `claim_refresh` in `KeyedCall::refresh` admits
                // a single call of them.
                let refresh = entry.may_refresh(now);
                CacheLookup::Found { entry, stale: true, refresh }
            }
            // `max-stale` (RFC 9111, section 5.2.1.2) permits an entry that is kept for failures, before
            // any failure.
            EntryFreshness::StaleIfError
                if wanted.is_some_and(|wanted| wanted.max_stale.is_some()) =>
            {
                CacheLookup::Found { entry, stale: true, refresh: false }
            }
            EntryFreshness::StaleIfError => CacheLookup::Missing(Some(entry)),
            EntryFreshness::Expired => CacheLookup::Missing(None),
        }
    }

    fn satisfies(&self, entry: &EntryFor<M, Res, E>, wanted: Option<&WantedFreshness>) -> bool {
        entry.satisfies(wanted, Instant::now())
    }

    fn plan(
        &self,
        mode: &M,
        state: &Arc<Self::Controls>,
        request: &Req,
        key: &K,
        info: KeyInfo,
        fallback: Option<EntryFor<M, Res, E>>,
    ) -> Self::Plan {
        CachePlan {
            state: Arc::clone(state),
            key: key.clone(),
            info,
            // May be newer than `FlightStart::resource_generation`. The service is called after both reads,
            // so its result belongs to the newer of the two.
            resource_generation: state.invalidations.generation(info.resource),
            valid: ValidFlag::new(AtomicBool::new(true)),
            fallback,
            began: Instant::now(),
            expiry: Expire::seed(mode, request),
            verdict_seed: self.judge.seed(mode, request),
            lease: None,
            has_asked_again: false,
        }
    }

    fn valid_flag(&self, plan: &Self::Plan) -> Option<ValidFlag> {
        Some(Arc::clone(&plan.valid))
    }

    fn fetch(&self, plan: &Self::Plan) -> Option<Self::Fetch> {
        plan.fetch().map(Paced::new)
    }

    fn is_store_slow(&self, plan: &Self::Plan) -> bool {
        // Relaxed: a hint. A stale value costs one head start of 10 ms, or one call of the service.
        !St::Store::IS_COORDINATED && plan.state.is_store_slow.load(Ordering::Relaxed)
    }

    fn note_store_speed(&self, plan: &Self::Plan, is_late: bool) {
        // Relaxed, as in `is_store_slow`. Flights that end together overwrite each other, and a later
        // flight corrects the mark.
        plan.state.is_store_slow.store(is_late, Ordering::Relaxed);
    }

    fn answer(
        &self,
        plan: &mut Self::Plan,
        fetched: FetchedFor<M, Res, E, Self::Lease>,
        is_calling: bool,
        can_restore: impl FnOnce(&EntryFor<M, Res, E>) -> bool,
    ) -> Answer<EntryFor<M, Res, E>, Self::Fetch> {
        let state = Arc::clone(&plan.state);
        let is_due =
            |entry: &CacheEntry<_>, now| self.options.is_refresh_due(&state.random, entry, now);
        plan.answer(fetched, Asked { is_calling, is_due }, can_restore).map_fetch(Paced::new)
    }

    fn keep(&self, plan: &Self::Plan, entry: &EntryFor<M, Res, E>) {
        plan.keep(entry);
    }

    fn refresh_ambient(&self) -> Ambient {
        let deadline = Some(Deadline::after(self.options.refresh_timeout));
        Ambient::new(deadline, Criticality::SheddablePlus)
    }

    fn claim_refresh(&self, entry: &EntryFor<M, Res, E>) -> bool {
        // Calls race here after `may_refresh`, and a single call gets the claim. `Refresh::drop` ends the
        // claim.
        entry.claim_refresh(Instant::now())
    }

    fn release_refresh(&self, entry: &EntryFor<M, Res, E>) {
        entry.release_refresh();
    }

    fn delay_refresh(&self, state: &Self::Controls, entry: &EntryFor<M, Res, E>) {
        entry.delay_refresh(&self.options.backoff, state.random.draw());
    }

    fn hold_refresh(&self, entry: &EntryFor<M, Res, E>, delay: Duration) {
        entry.hold_refresh(delay);
    }

    fn others_may_serve_stale(
        &self,
        mode: &M,
        plan: &Self::Plan,
        outcome: Option<Result<&Res, &E>>,
    ) -> Option<Verdict> {
        // Asked first, because `judge` is code of the user, and hardly any request wants a particular
        // freshness.
        plan.info.wanted.as_ref()?;
        let verdict =
            outcome.map_or(PANICKED, |outcome| self.judge.judge(mode, &plan.verdict_seed, outcome));
        Some(verdict).filter(|verdict| !matches!(verdict, Verdict::Success | Verdict::Permanent))
    }

    fn decide(
        &self,
        mode: &M,
        plan: &mut Self::Plan,
        outcome: Option<Result<&Res, &E>>,
    ) -> Decision<Self::Write, EntryFor<M, Res, E>> {
        let verdict = outcome.map(|outcome| self.judge.judge(mode, &plan.verdict_seed, outcome));
        let ttl = match verdict {
            Some(Verdict::Success) => Some(self.options.ttl),
            Some(Verdict::Permanent) => Some(self.options.negative_ttl),
            _ => None,
        };
        let (Some(outcome), Some(ttl)) = (outcome, ttl) else {
            let now = Instant::now();
            // The resource is checked again, because it may have changed while the call was made.
            let is_usable = |fallback: &&EntryFor<M, Res, E>| {
                fallback.can_replace_error(now)
                    && fallback.satisfies(plan.info.wanted.as_ref(), now)
                    && plan.is_current(fallback)
            };
            return match plan.fallback.as_ref().filter(is_usable) {
                Some(fallback) => {
                    Decision::Instead(Arc::clone(fallback), verdict.unwrap_or(PANICKED))
                }
                None => Decision::Stands(CacheWriter(None)),
            };
        };
        let windows = verdict == Some(Verdict::Success);
        let configured_lifetime = ttl.map(|ttl| self.options.configured_lifetime(ttl, windows));
        let now = Instant::now();
        let delay = now.saturating_duration_since(plan.began);
        let lifetime = match outcome {
            Ok(response) => {
                mode.lifetime_with_delay(&plan.expiry, response, delay, configured_lifetime)
            }
            Err(_) => configured_lifetime,
        };
        let lifetime = lifetime.map(|told| self.options.spread(told, plan.state.random.draw()));
        Decision::Stands(plan.writer(lifetime, now))
    }
}

/// The verdict on a call that panicked.
const PANICKED: Verdict = Verdict::rejected("dedup", Reason::Panicked, None);

impl CacheOptions {
    /// Whether a fresh entry is to be renewed now.
    #[inline]
    fn is_refresh_due<V>(&self, random: &Random, entry: &CacheEntry<V>, now: Instant) -> bool {
        self.early_refresh.is_some_and(|law| {
            // In (0, 1], because the law takes the logarithm.
            let chance = 1.0 - random.draw();
            entry.may_refresh(now) && law.is_due(entry.remaining(now), entry.took(), chance)
        })
    }

    /// The lifetime by the options alone. The stale windows are for successes.
    fn configured_lifetime(&self, ttl: Duration, windows: bool) -> Lifetime {
        let mut lifetime = Lifetime::new(ttl);
        if windows {
            lifetime.stale_while_revalidate = self.stale_while_revalidate;
            lifetime.stale_if_error = self.stale_if_error;
        }
        lifetime
    }

    /// Spreads a lifetime by the jitter. `chance` is from [0, 1).
    fn spread(&self, mut lifetime: Lifetime, chance: f64) -> Lifetime {
        let share = if lifetime.is_explicit { -chance } else { 2.0 * chance - 1.0 };
        let jitter = f64::from(self.jitter.parts_per_million()) / 1e6;
        let seconds = lifetime.fresh.as_secs_f64() * (1.0 + share * jitter);
        if let Ok(fresh) = Duration::try_from_secs_f64(seconds.max(0.0)) {
            lifetime.fresh = fresh;
        }
        lifetime
    }
}
