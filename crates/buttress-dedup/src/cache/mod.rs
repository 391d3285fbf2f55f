use std::sync::Arc;

use buttress_core::{Ambient, Share, WantedFreshness};

mod entry;
mod fetch;
mod invalidations;
mod memory;
mod no_cache;
mod options;
mod pending;
mod rules;
mod store;
mod valid_flag;

pub(crate) use self::{
    entry::EntryFreshness,
    fetch::Fetch,
    invalidations::ResourceGeneration,
    valid_flag::{ValidFlag, forbid_caching},
};
pub use self::{
    entry::{CacheEntry, CachedOutcome},
    memory::Memory,
    no_cache::NoCache,
    options::Cache,
    store::{OpenStore, Store},
};

/// Whether, and where, a layer keeps answers: not at all ([`NoCache`]), or as a [`Cache`]
/// says.
pub trait CachePolicy<M, K, Req, Res, E>: Clone + Send + Sync + 'static
where
    M: Share<Res>,
{
    /// Where answers are kept.
    type Controls: CacheControls<K, CachedOutcome<M::Shared, E>>;

    /// What a call remembers of its request, to keep the answer.
    type Plan: Send + 'static;

    /// An answer on its way from a store.
    type Fetch: Fetch<Output = Option<EntryFor<M, Res, E>>> + Send + 'static;

    /// What an answer needs to be kept once it is whole.
    type Write: CacheWrite<CachedOutcome<M::Shared, E>>;

    /// Whether there is anything to look up.
    const CACHES: bool;

    /// A new, empty shelf.
    fn open(&self) -> Self::Controls;

    /// What is kept for `key`, as fresh as it is `wanted`, if that is anything particular.
    fn lookup(
        &self,
        controls: &Self::Controls,
        key: &K,
        resource: Option<u64>,
        wanted: Option<&WantedFreshness>,
    ) -> CacheLookup<EntryFor<M, Res, E>>;

    /// Whether what is kept is as fresh as it is `wanted`, be it in place of a failure.
    fn satisfies(&self, entry: &EntryFor<M, Res, E>, wanted: Option<&WantedFreshness>) -> bool {
        let _ = (entry, wanted);
        true
    }

    /// What must be remembered of a call that is about to be made, with a `spare` answer for the case
    /// that it fails.
    fn plan(
        &self,
        mode: &M,
        controls: &Arc<Self::Controls>,
        request: &Req,
        key: &K,
        about: KeyInfo,
        fallback: Option<EntryFor<M, Res, E>>,
    ) -> Self::Plan;

    /// What says that the call's answer may be kept, once it is there.
    fn valid_flag(&self, plan: &Self::Plan) -> Option<ValidFlag> {
        let _ = plan;
        None
    }

    /// Looks further away, if there is such a place.
    fn fetch(&self, plan: &Self::Plan) -> Option<Self::Fetch>;

    /// Whether the service is not to wait for what is fetched.
    fn is_store_slow(&self, plan: &Self::Plan) -> bool {
        let _ = plan;
        false
    }

    /// What was fetched, and was not waited for, came after the service's answer if it `is_late`.
    fn note_store_speed(&self, plan: &Self::Plan, is_late: bool) {
        let _ = (plan, is_late);
    }

    /// Whether what was fetched may be given out.
    fn accepts_fetched(&self, plan: &Self::Plan, entry: &EntryFor<M, Res, E>) -> bool;

    /// On what terms a refresh is made.
    fn refresh_ambient(&self) -> Ambient {
        Ambient::current()
    }

    /// Whether whoever asks is the one to refresh `kept`.
    fn claim_refresh(&self, entry: &EntryFor<M, Res, E>) -> bool {
        let _ = entry;
        false
    }

    /// What was claimed is not refreshed after all.
    fn release_refresh(&self, entry: &EntryFor<M, Res, E>) {
        let _ = entry;
    }

    /// A refresh of `kept` has failed: the next one has to wait.
    fn delay_refresh(&self, controls: &Self::Controls, entry: &EntryFor<M, Res, E>) {
        let _ = (controls, entry);
    }

    /// Whether the outcome is a failure that stands because the request itself
    /// [wanted](KeyInfo::wanted) no kept answer in its place. Others who wait may want one.
    fn others_may_serve_stale(
        &self,
        mode: &M,
        plan: &Self::Plan,
        outcome: Option<Result<&Res, &E>>,
    ) -> bool {
        let _ = (mode, plan, outcome);
        false
    }

    /// What is to be kept of an outcome, or given out in its place. `None` stands for a panic.
    fn decide(
        &self,
        mode: &M,
        plan: &Self::Plan,
        outcome: Option<Result<&Res, &E>>,
    ) -> Decision<Self::Write, EntryFor<M, Res, E>>;
}

/// A kept outcome of a service.
pub(crate) type EntryFor<M, Res, E> = Arc<CacheEntry<CachedOutcome<<M as Share<Res>>::Shared, E>>>;

/// What is to be known of a key beside itself.
#[derive(Clone, Copy, Debug)]
pub struct KeyInfo {
    /// What it is about, as [`KeyOf::resource`](buttress_core::KeyOf::resource) has it.
    pub resource: Option<u64>,
    /// What it takes, in bytes.
    pub weight: usize,
    /// How fresh a kept answer must be for the request. `None`: any that may be given out.
    pub wanted: Option<WantedFreshness>,
}

/// What was found.
#[derive(Clone, Debug)]
pub enum CacheLookup<V> {
    /// It can be given out.
    Found {
        /// What was kept.
        entry: V,
        /// It has outlived its time.
        stale: bool,
        /// Somebody should fetch a newer one meanwhile.
        refresh: bool,
    },
    /// Nothing, but for what may serve in place of a failure.
    Missing(Option<V>),
}

/// What is made of an outcome.
#[derive(Debug)]
pub enum Decision<Kp, V> {
    /// The outcome stands, and may be kept.
    Stands(Kp),
    /// It failed, and what was kept before is better.
    Instead(V),
}

/// Keeps an answer that has become whole.
pub trait CacheWrite<V>: Send + Sync + 'static {
    /// Whether it ever keeps anything.
    const CACHES: bool = true;

    /// Whether there is anything to keep.
    fn will_write(&self) -> bool;

    /// Keeps the value, whose weight is in bytes. Whether there was a place for it.
    fn write(&self, value: impl FnOnce() -> (V, usize)) -> bool;
}

/// What the handle of a layer does with a shelf.
pub trait CacheControls<K, V>: Send + Sync + 'static {
    /// Forgets the answer for `key`.
    fn invalidate(&self, key: &K);

    /// Forgets everything about a subject.
    fn invalidate_resource(&self, resource: u64);

    /// Whether anything was ever [outdated](Self::invalidate_resource). Until then no subject need be known.
    fn has_changed(&self) -> bool;

    /// How often that was said of this subject.
    fn resource_generation(&self, resource: Option<u64>) -> ResourceGeneration;

    /// Forgets everything.
    fn invalidate_all(&self);

    /// How many answers are kept, and how many bytes they take.
    fn size(&self) -> (usize, u64);
}
