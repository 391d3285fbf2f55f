use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use buttress_control::{Backoff, EarlyRefresh, Jitter, Random, Ratio};
use buttress_core::{
    Ambient, By, ByMode, Criticality, Deadline, Expire, Judge, Lifetime, Share, Verdict,
    WantedFreshness,
};
use tokio::time::Instant;

use super::{
    CacheLookup, CachePolicy, Decision, EntryFor, KeyInfo,
    entry::EntryFreshness,
    fetch::Paced,
    invalidations::Invalidations,
    pending::{CachePlan, CacheState, CacheWriter},
};
use crate::{CachedOutcome, Memory, OpenStore, Store, settings::ValidFlag};

/// How long answers are kept, and how many.
///
/// In `Http` mode the answers themselves have the first word, as
/// [RFC 9111](https://www.rfc-editor.org/rfc/rfc9111) says, and what is set here is for those that say
/// nothing.
#[derive(Clone, Debug)]
#[doc(alias("cache", "TTL", "response cache", "memoize"))]
pub struct Cache<St = Memory, J = ByMode> {
    options: CacheOptions,
    store: St,
    judge: J,
}

#[derive(Clone, Copy, Debug)]
struct CacheOptions {
    ttl: Option<Duration>,
    negative_ttl: Option<Duration>,
    jitter: Ratio,
    stale_while_revalidate: Duration,
    stale_if_error: Duration,
    early_refresh: Option<EarlyRefresh>,
    refresh_timeout: Duration,
    backoff: Backoff,
    seed: Option<u64>,
}

impl Cache {
    /// Keeps successes for `ttl`, give or take the [`jitter`](Self::jitter).
    pub fn new(ttl: Duration) -> Self {
        Self::with_ttl(Some(ttl))
    }

    /// Keeps what says itself how long it may be kept, and nothing else. In `Plain` mode no answer says
    /// so.
    #[doc(alias("Cache-Control", "max-age", "Expires"))]
    pub fn from_headers() -> Self {
        Self::with_ttl(None)
    }

    fn with_ttl(ttl: Option<Duration>) -> Self {
        let options = CacheOptions {
            ttl,
            negative_ttl: None,
            jitter: Ratio::percent(10),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            early_refresh: None,
            refresh_timeout: Duration::from_secs(30),
            backoff: Backoff::exponential(Duration::from_secs(1), Duration::from_secs(60))
                .jitter(Jitter::Proportional(Ratio::percent(20))),
            seed: None,
        };
        Self { options, store: Memory::default(), judge: ByMode }
    }
}

impl<J> Cache<Memory, J> {
    /// Keeps up to `max` answers; 10,000 by default.
    pub fn max_entries(mut self, max: usize) -> Self {
        self.store.max_entries = max;
        self
    }

    /// Keeps answers of up to `max` bytes in all; 64 MiB by default. One that takes more than a tenth of
    /// that is not kept. An answer counts together with its [key](buttress_core::KeyOf::weight); in
    /// `Plain` mode with the size of its type, without what it owns elsewhere.
    pub fn max_bytes(mut self, max: usize) -> Self {
        self.store.max_bytes = max;
        self
    }
}

impl<St, J> Cache<St, J> {
    /// Keeps failures that would come again, such as "not found", for `ttl`: those whose verdict is
    /// [`Permanent`](Verdict::Permanent). By default they are not kept. All other failures never are.
    ///
    /// In `Plain` mode no error is known to be permanent: say so with [`classify`](Self::classify). An error
    /// is kept only where the layer may [share](crate::DedupLayer::share_errors) it.
    #[doc(alias("negative caching"))]
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.options.negative_ttl = Some(ttl);
        self
    }

    /// Spreads lifetimes by up to this much, so that what came together does not go together; 10 % by
    /// default. A ttl is made longer or shorter, what an answer said of itself only shorter.
    pub fn jitter(mut self, jitter: Ratio) -> Self {
        self.options.jitter = jitter;
        self
    }

    /// For so long after its time an answer is given out still, while one call in the background fetches
    /// a newer one. None by default.
    ///
    /// That call is spawned on the runtime of the caller who found the answer stale. It is
    /// [`SheddablePlus`](Criticality::SheddablePlus), and ends after
    /// [`refresh_timeout`](Self::refresh_timeout).
    #[doc(alias("SWR", "stale-while-revalidate", "background refresh"))]
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.options.stale_while_revalidate = window;
        self
    }

    /// For so long after its time an answer is given out in place of a failure: of any that another
    /// attempt might mend, or a panic. None by default.
    ///
    /// The call is made first, each time. Together with [`stale_while_revalidate`](Self::stale_while_revalidate) callers
    /// are answered at once, and one refresh after the other waits for its [`backoff`](Self::refresh_backoff).
    #[doc(alias("stale-if-error", "fallback", "serve stale"))]
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.options.stale_if_error = window;
        self
    }

    /// Renews answers in the background before their time has come: the likelier the longer they took
    /// to make, as [`EarlyRefresh`] says. Off by default.
    pub fn early_refresh(mut self, law: EarlyRefresh) -> Self {
        self.options.early_refresh = Some(law);
        self
    }

    /// How long a refresh in the background may take; 30 s by default.
    pub fn refresh_timeout(mut self, timeout: Duration) -> Self {
        self.options.refresh_timeout = timeout;
        self
    }

    /// How long the next refresh of an answer waits after one that failed; exponential from 1 s to 60 s,
    /// give or take 20 %, by default.
    pub fn refresh_backoff(mut self, backoff: Backoff) -> Self {
        self.options.backoff = backoff;
        self
    }

    /// What an outcome means, in place of the mode's own classification.
    #[doc(alias("is_retryable", "retry predicate"))]
    pub fn classify<C>(self, classify: C) -> Cache<St, By<C>> {
        Cache { options: self.options, store: self.store, judge: By(classify) }
    }

    /// Keeps answers somewhere else.
    pub fn store<St2>(self, store: St2) -> Cache<St2, J> {
        Cache { options: self.options, store, judge: self.judge }
    }

    /// Makes chance repeatable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = Some(seed);
        self
    }
}

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
    type Write = CacheWriter<K, St::Store>;
    const CACHES: bool = true;

    fn open(&self) -> Self::Controls {
        let seed = self.options.seed.unwrap_or_else(|| fastrand::u64(..));
        CacheState {
            store: self.store.open(),
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
        if !entry.is_valid()
            || entry.resource_generation != state.invalidations.generation(resource)
        {
            return CacheLookup::Missing(None);
        }
        let now = Instant::now();
        if !entry.satisfies(wanted, now) {
            return CacheLookup::Missing(None);
        }
        match entry.freshness(now) {
            EntryFreshness::Fresh => {
                let is_due = |law: EarlyRefresh| {
                    let chance = 1.0 - state.random.draw();
                    entry.may_refresh(now) && law.is_due(entry.remaining(now), entry.took(), chance)
                };
                let refresh = self.options.early_refresh.is_some_and(is_due);
                CacheLookup::Found { entry, stale: false, refresh }
            }
            EntryFreshness::Stale => {
                let refresh = entry.may_refresh(now);
                CacheLookup::Found { entry, stale: true, refresh }
            }
            // `max-stale` permits what is kept for failures without waiting for one.
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
            resource_generation: state.invalidations.generation(info.resource),
            valid: ValidFlag::new(AtomicBool::new(true)),
            fallback,
            began: Instant::now(),
            expiry: Expire::seed(mode, request),
            verdict_seed: self.judge.seed(mode, request),
        }
    }

    fn valid_flag(&self, plan: &Self::Plan) -> Option<ValidFlag> {
        Some(Arc::clone(&plan.valid))
    }

    fn fetch(&self, plan: &Self::Plan) -> Option<Self::Fetch> {
        plan.state.store.fetch(&plan.key).map(Paced::new)
    }

    fn is_store_slow(&self, plan: &Self::Plan) -> bool {
        plan.state.is_store_slow.load(Ordering::Relaxed)
    }

    fn note_store_speed(&self, plan: &Self::Plan, is_late: bool) {
        plan.state.is_store_slow.store(is_late, Ordering::Relaxed);
    }

    fn accepts_fetched(&self, plan: &Self::Plan, entry: &EntryFor<M, Res, E>) -> bool {
        let now = Instant::now();
        let is_newer =
            |fallback: &EntryFor<M, Res, E>| entry.remaining(now) > fallback.remaining(now);
        plan.is_valid()
            && plan.is_current(entry)
            && entry.freshness(now) == EntryFreshness::Fresh
            && entry.satisfies(plan.info.wanted.as_ref(), now)
            && plan.fallback.as_ref().is_none_or(is_newer)
    }

    fn refresh_ambient(&self) -> Ambient {
        let deadline = Some(Deadline::after(self.options.refresh_timeout));
        Ambient::new(deadline, Criticality::SheddablePlus)
    }

    fn claim_refresh(&self, entry: &EntryFor<M, Res, E>) -> bool {
        entry.claim_refresh(Instant::now())
    }

    fn release_refresh(&self, entry: &EntryFor<M, Res, E>) {
        entry.release_refresh();
    }

    fn delay_refresh(&self, state: &Self::Controls, entry: &EntryFor<M, Res, E>) {
        entry.delay_refresh(&self.options.backoff, state.random.draw());
    }

    fn others_may_serve_stale(
        &self,
        mode: &M,
        plan: &Self::Plan,
        outcome: Option<Result<&Res, &E>>,
    ) -> bool {
        let verdict = || outcome.map(|outcome| self.judge.judge(mode, &plan.verdict_seed, outcome));
        plan.info.wanted.is_some()
            && !matches!(verdict(), Some(Verdict::Success | Verdict::Permanent))
    }

    fn decide(
        &self,
        mode: &M,
        plan: &Self::Plan,
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
            let is_usable = |fallback: &&EntryFor<M, Res, E>| {
                fallback.can_replace_error(now)
                    && fallback.satisfies(plan.info.wanted.as_ref(), now)
                    && plan.is_current(fallback)
            };
            return match plan.fallback.as_ref().filter(is_usable) {
                Some(fallback) => Decision::Instead(Arc::clone(fallback)),
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
        Decision::Stands(CacheWriter(
            lifetime.and_then(|lifetime| plan.pending_write(lifetime, now)),
        ))
    }
}

impl CacheOptions {
    fn configured_lifetime(&self, ttl: Duration, windows: bool) -> Lifetime {
        let mut lifetime = Lifetime::new(ttl);
        if windows {
            lifetime.stale_while_revalidate = self.stale_while_revalidate;
            lifetime.stale_if_error = self.stale_if_error;
        }
        lifetime
    }

    /// A lifetime with its share of chance, which is from [0, 1).
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
