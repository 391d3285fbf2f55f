use std::sync::Arc;

use buttress_core::{Share, WantedFreshness};

use super::{
    Answer, CacheControls, CacheLookup, CachePolicy, CacheWrite, Decision, EntryFor, FetchedFor,
    KeyInfo,
    fetch::Never,
    invalidations::{Invalidations, ResourceGeneration},
};

/// No cache: flights share their result with the callers that wait, and with no later caller.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCache;

impl<M: Share<Res>, K, Req, Res, E> CachePolicy<M, K, Req, Res, E> for NoCache
where
    E: Send + Sync + 'static,
{
    type Controls = Invalidations;
    type Plan = ();
    type Fetch = Never<FetchedFor<M, Res, E, ()>>;
    type Lease = ();
    type Write = ();
    const CACHES: bool = false;

    #[inline]
    fn open(&self, _: &str) -> Invalidations {
        Invalidations::default()
    }

    #[inline]
    fn lookup(
        &self,
        _: &Invalidations,
        _: &K,
        _: Option<u64>,
        _: Option<&WantedFreshness>,
    ) -> CacheLookup<EntryFor<M, Res, E>> {
        CacheLookup::Missing(None)
    }

    #[inline]
    fn plan(
        &self,
        _: &M,
        _: &Arc<Invalidations>,
        _: &Req,
        _: &K,
        _: KeyInfo,
        _: Option<EntryFor<M, Res, E>>,
    ) {
    }

    #[inline]
    fn fetch(&self, (): &()) -> Option<Self::Fetch> {
        None
    }

    fn answer(
        &self,
        (): &mut (),
        _: FetchedFor<M, Res, E, ()>,
        _: bool,
        _: impl FnOnce(&EntryFor<M, Res, E>) -> bool,
    ) -> Answer<EntryFor<M, Res, E>, Self::Fetch> {
        Answer::Call
    }

    #[inline]
    fn decide(
        &self,
        _: &M,
        (): &mut (),
        _: Option<Result<&Res, &E>>,
    ) -> Decision<(), EntryFor<M, Res, E>> {
        Decision::Stands(())
    }
}

impl<V> CacheWrite<V> for () {
    const CACHES: bool = false;
    const NOTHING: Self = ();

    #[inline]
    fn will_write(&self) -> bool {
        false
    }

    #[inline]
    fn write(&self, _: impl FnOnce() -> (V, usize)) -> bool {
        false
    }
}

/// Without a cache, invalidations only close flights to later callers.
impl<K, V> CacheControls<K, V> for Invalidations {
    fn invalidate(&self, _: &K, _: Option<u64>) {}

    fn invalidate_resource(&self, resource: u64) {
        self.add(resource);
    }

    #[inline]
    fn has_changed(&self) -> bool {
        self.has_any()
    }

    #[inline]
    fn resource_generation(&self, resource: Option<u64>) -> ResourceGeneration {
        self.generation(resource)
    }

    fn invalidate_all(&self) {}

    fn size(&self) -> (usize, u64) {
        (0, 0)
    }
}
