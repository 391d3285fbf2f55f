use std::{sync::Arc, time::Duration};

use buttress_core::{Ambient, Share, Verdict, WantedFreshness};

mod answer;
mod entry;
mod fetch;
mod invalidations;
mod no_cache;
mod options;
mod pending;
mod rules;
#[cfg(feature = "shared-cache")]
mod shared;
mod shared_handle;
mod store;

#[cfg(feature = "shared-cache")]
pub use self::shared::SharedCache;
pub(crate) use self::{
    answer::{Answer, Asked},
    entry::{EntryFreshness, ValidFlag, forbid_caching},
    fetch::Fetch,
    invalidations::ResourceGeneration,
};
pub use self::{
    entry::{CacheEntry, CachedOutcome},
    no_cache::NoCache,
    options::Cache,
    shared_handle::SharedCacheHandle,
    store::{Fetched, Intent, MaybeShared, Memory, OpenStore, Store, StoreCounts},
};

/// How a layer caches: not at all ([`NoCache`]), or as a [`Cache`] says.
pub trait CachePolicy<M, K, Req, Res, E>: Clone + Send + Sync + 'static
where
    M: Share<Res>,
{
    /// The cache itself.
    type Controls: CacheControls<K, CachedOutcome<M::Shared, E>>;

    /// The state that a flight captures from its request, to write its result.
    type Plan: Send + 'static;

    /// A read of a remote store.
    type Fetch: Fetch<Output = FetchedFor<M, Res, E, Self::Lease>> + Send + 'static;

    /// The right to store the result of a call.
    type Lease: Send + Sync + 'static;

    /// The pending write of a result, until the response is complete.
    type Write: CacheWrite<CachedOutcome<M::Shared, E>>;

    /// Whether there is a cache.
    const CACHES: bool;

    /// Makes a new, empty cache for the layer of that name.
    fn open(&self, instance: &str) -> Self::Controls;

    /// Looks up the entry of `key`. `wanted` is the freshness that the request wants, if that is particular.
    fn lookup(
        &self,
        controls: &Self::Controls,
        key: &K,
        resource: Option<u64>,
        wanted: Option<&WantedFreshness>,
    ) -> CacheLookup<EntryFor<M, Res, E>>;

    /// Whether an entry is as fresh as `wanted`, also in place of a failure.
    fn satisfies(&self, entry: &EntryFor<M, Res, E>, wanted: Option<&WantedFreshness>) -> bool {
        let _ = (entry, wanted);
        true
    }

    /// Captures the state of a call that is about to be made. `fallback` is a stale entry for the case that
    /// the call fails.
    fn plan(
        &self,
        mode: &M,
        controls: &Arc<Self::Controls>,
        request: &Req,
        key: &K,
        about: KeyInfo,
        fallback: Option<EntryFor<M, Res, E>>,
    ) -> Self::Plan;

    /// The flag that permits to cache the result of the call.
    fn valid_flag(&self, plan: &Self::Plan) -> Option<ValidFlag> {
        let _ = plan;
        None
    }

    /// Starts a read of the remote store, if the store has a remote place.
    fn fetch(&self, plan: &Self::Plan) -> Option<Self::Fetch>;

    /// Whether the store is marked as slow, so that the service does not wait for its read.
    fn is_store_slow(&self, plan: &Self::Plan) -> bool {
        let _ = plan;
        false
    }

    /// Marks the store as slow if a read that the service did not wait for `is_late`: the service answered
    /// first.
    fn note_store_speed(&self, plan: &Self::Plan, is_late: bool) {
        let _ = (plan, is_late);
    }

    /// Decides what follows from the answer of the store. `is_calling`: the call is already being made.
    /// `can_restore` tells whether an entry can be served at all.
    fn answer(
        &self,
        plan: &mut Self::Plan,
        fetched: FetchedFor<M, Res, E, Self::Lease>,
        is_calling: bool,
        can_restore: impl FnOnce(&EntryFor<M, Res, E>) -> bool,
    ) -> Answer<EntryFor<M, Res, E>, Self::Fetch>;

    /// Gives the store an entry of its own to keep in this process.
    fn keep(&self, plan: &Self::Plan, entry: &EntryFor<M, Res, E>) {
        let _ = (plan, entry);
    }

    /// The ambient values of a background refresh.
    fn refresh_ambient(&self) -> Ambient {
        Ambient::current()
    }

    /// Claims the refresh of `entry`. At most one caller succeeds at a time.
    fn claim_refresh(&self, entry: &EntryFor<M, Res, E>) -> bool {
        let _ = entry;
        false
    }

    /// Gives back a claim whose refresh did not begin.
    fn release_refresh(&self, entry: &EntryFor<M, Res, E>) {
        let _ = entry;
    }

    /// Gives the claim of an ended refresh back. The next refresh of this entry waits for the backoff.
    fn delay_refresh(&self, controls: &Self::Controls, entry: &EntryFor<M, Res, E>) {
        let _ = (controls, entry);
    }

    /// Gives the claim of a refresh back that another process makes. The next refresh of this entry waits
    /// for `delay`.
    fn hold_refresh(&self, entry: &EntryFor<M, Res, E>, delay: Duration) {
        let _ = (entry, delay);
    }

    /// Returns the verdict on a failure that stands only because the leader's request
    /// [wanted](KeyInfo::wanted) no stale entry in its place. The followers may want such an entry.
    fn others_may_serve_stale(
        &self,
        mode: &M,
        plan: &Self::Plan,
        outcome: Option<Result<&Res, &E>>,
    ) -> Option<Verdict> {
        let _ = (mode, plan, outcome);
        None
    }

    /// Decides whether an outcome is cached, or replaced with a stale entry. `None` stands for a panic.
    fn decide(
        &self,
        mode: &M,
        plan: &mut Self::Plan,
        outcome: Option<Result<&Res, &E>>,
    ) -> Decision<Self::Write, EntryFor<M, Res, E>>;
}

/// The entry of a service with this mode, response and error.
pub(crate) type EntryFor<M, Res, E> = Arc<CacheEntry<CachedOutcome<<M as Share<Res>>::Shared, E>>>;

/// The answer of a store of a service with this mode, response and error. `L` is the lease.
pub(crate) type FetchedFor<M, Res, E, L> = Fetched<CachedOutcome<<M as Share<Res>>::Shared, E>, L>;

/// The facts about a key that the cache needs.
#[derive(Clone, Copy, Debug)]
pub struct KeyInfo {
    /// The resource of the key. See [`KeyOf::resource`](buttress_core::KeyOf::resource).
    pub resource: Option<u64>,
    /// The bytes that the key takes.
    pub weight: usize,
    /// The freshness that the request wants. `None`: any entry that may be served.
    pub wanted: Option<WantedFreshness>,
    /// The flight is a background refresh.
    pub is_refresh: bool,
}

/// The result of a lookup.
#[derive(Clone, Debug)]
pub enum CacheLookup<V> {
    /// The entry can be served.
    Found {
        /// The entry.
        entry: V,
        /// The entry is stale.
        stale: bool,
        /// A background refresh is due.
        refresh: bool,
    },
    /// No entry can be served now. The value is an entry that may be served in place of a failure.
    Missing(Option<V>),
}

/// The decision about an outcome.
#[derive(Debug)]
pub enum Decision<Kp, V> {
    /// The outcome stands, and the writer may cache it.
    Stands(Kp),
    /// The call failed with this verdict, and the entry is served instead.
    Instead(V, Verdict),
}

/// Writes a result to the cache once the response is complete.
pub trait CacheWrite<V>: Sized + Send + Sync + 'static {
    /// Whether any write can ever happen.
    const CACHES: bool = true;

    /// A writer for a result that must not be cached.
    const NOTHING: Self;

    /// Whether this result is to be written.
    fn will_write(&self) -> bool;

    /// Writes the value, whose weight is in bytes. Returns false if there is no cache, the result must not
    /// be cached, or the key was invalidated.
    fn write(&self, value: impl FnOnce() -> (V, usize)) -> bool;

    /// Tells the store that the response may not be stored.
    fn decline(&self) {}

    /// Gives the lease of a store back: there will be no result.
    fn abandon(&self) {}
}

/// Invalidation and counters of a cache.
pub trait CacheControls<K, V>: Send + Sync + 'static {
    /// Removes the entry of `key`. `resource` is the resource of the key.
    fn invalidate(&self, key: &K, resource: Option<u64>);

    /// Invalidates all entries of a resource.
    fn invalidate_resource(&self, resource: u64);

    /// Whether any resource was ever [invalidated](Self::invalidate_resource). Until then no call computes
    /// its resource.
    fn has_changed(&self) -> bool;

    /// The current generation of `resource`.
    fn resource_generation(&self, resource: Option<u64>) -> ResourceGeneration;

    /// Removes all entries.
    fn invalidate_all(&self);

    /// Returns the number of entries, and their bytes.
    fn size(&self) -> (usize, u64);

    /// The numbers of a store that several processes share.
    fn store_counts(&self) -> Option<StoreCounts> {
        None
    }
}
