use std::{borrow::Cow, sync::Arc};

use buttress_core::{
    Bind, By, ByMode, ByteBudget, Enforcement, FixedKey, KeyOf, Plain, StateScope,
};
use tower_layer::Layer;

use crate::{
    Cache, Dedup, DedupHandle, MaybeShared, NoCache, SharedCacheHandle, UnsharedErrors,
    call::{DedupConfig, SharedConfig},
    settings::{Caching, Keys, PanicPolicy, Settings},
    share_error::{ClonedErrors, MappedErrors},
    state::DedupState,
};

/// Coalesces concurrent identical calls, and optionally caches responses.
///
/// The clones of a layer, and all services it makes, share flights and cache entries, unless the layer is
/// [`per_service`](Self::per_service).
#[derive(Clone, Debug)]
#[doc(alias("single flight", "singleflight", "coalesce", "request collapsing"))]
pub struct DedupLayer<M = Plain, K = ByMode, C = NoCache, E = UnsharedErrors> {
    core: DedupConfig<M, K, C, E>,
}

impl Default for DedupLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl DedupLayer {
    /// Takes the keys of the mode. In `Plain` mode, requests share a key if they are equal. In `Http` mode,
    /// requests share a key if they are safe to share and would get the same response.
    pub fn new() -> Self {
        Self::of(ByMode, Keys::OfMode)
    }
}

impl<F> DedupLayer<Plain, By<F>> {
    /// Takes the keys of a function. If `key` returns `None`, the request bypasses the layer.
    ///
    /// The key must contain everything the response depends on, starting with the caller's identity. The
    /// key is an owned value. The function alone decides, in `Http` mode too: a `POST` with a key is shared
    /// and cached like any other request. No request invalidates entries, unless a [`KeyOf`] of yours
    /// implements `invalidates`.
    pub fn keyed<Req>(key: F) -> Self
    where
        F: KeyOf<Req>,
    {
        Self::of(By(key), Keys::Given)
    }

    /// Takes the keys of a [`FixedKey`], as [`keyed`](Self::keyed) takes those of a closure. For a key
    /// that supports several types of requests.
    ///
    /// The key must contain everything the response depends on. So the host of a request alone is no key
    /// for this layer.
    pub fn per(key: F) -> Self
    where
        F: FixedKey,
    {
        Self::of(By(key), Keys::Given)
    }
}

impl<K> DedupLayer<Plain, K> {
    fn of(keys: K, of: Keys) -> Self {
        let shared =
            SharedConfig { policy: NoCache, settings: Settings::new(of), state: Arc::default() };
        Self {
            core: DedupConfig {
                keys,
                mode: Plain,
                errors: UnsharedErrors,
                shared: Arc::new(shared),
            },
        }
    }
}

impl<M, K, C: Clone, E> DedupLayer<M, K, C, E> {
    /// Caches responses for later callers, with the options of `cache`. Default: no cache.
    ///
    /// The returned layer has fresh state. Clones and handles made before keep the old flights and entries.
    pub fn cache<St, J>(self, cache: Cache<St, J>) -> DedupLayer<M, K, Cache<St, J>, E> {
        let DedupConfig { keys, mode, errors, shared } = self.core;
        let settings = Settings { caching: Caching::On, ..shared.settings.clone() };
        let shared = Arc::new(SharedConfig { policy: cache, settings, state: Arc::default() });
        DedupLayer { core: DedupConfig { mode, keys, errors, shared } }
    }

    /// Gives an error to all callers that waited for it, by cloning the error.
    ///
    /// By default, each caller makes a call of its own after an error, each after the other. So while the service
    /// is down, the last of n callers waits for n calls.
    pub fn share_errors(self) -> DedupLayer<M, K, C, ClonedErrors> {
        self.errors(ClonedErrors)
    }

    /// Gives an error to all callers that waited for it, if `share` returns a copy. If `share` returns
    /// `None`, each caller makes a call of its own. Default: errors are not shared.
    ///
    /// The leader gets the error itself. `share` is called once on that error, and then once more on the
    /// copy for each follower.
    pub fn share_errors_with<Err, F>(self, share: F) -> DedupLayer<M, K, C, MappedErrors<F>>
    where
        F: Fn(&Err) -> Option<Err> + Clone,
    {
        self.errors(MappedErrors(share))
    }

    /// Sets the maximum bytes that shared responses in progress hold, all of them together. Default:
    /// 64 MiB.
    ///
    /// A response that announces a need of more than is left is not shared. If a body turns out to
    /// need more, it continues for its callers within the bytes that it holds by then, or with a single
    /// frame at a time.
    pub fn max_shared_bytes(self, bytes: usize) -> Self {
        self.with(|settings| settings.shared_bytes = Arc::new(ByteBudget::new(bytes)))
    }

    /// Resumes a panic in the caller that met it, instead of returning a rejection. All other callers
    /// that waited still get the rejection. Default: off.
    pub fn resume_panics(self) -> Self {
        self.with(|settings| settings.panic_policy = PanicPolicy::Resumed)
    }

    /// Counts and reports what the layer would do, and shares nothing. Default: off.
    ///
    /// Keys are computed, and flights and entries are kept as usual. A call that would join a flight or
    /// be answered from the cache is counted, reported with `observed = true`, and makes a call of its
    /// own. A failure is not replaced with a stale entry. No background refresh is started: the call that
    /// would have started the refresh renews the entry itself. A [`Store`](crate::Store) is read as usual, and the
    /// service is called after the read. Panics are resumed.
    #[doc(alias("shadow mode", "dry run"))]
    pub fn observe(self) -> Self {
        self.with(|settings| {
            settings.enforcement = Enforcement::Observe;
            settings.panic_policy = PanicPolicy::Resumed;
        })
    }

    /// Gives each service that this layer makes flights and entries of its own. Default: off.
    ///
    /// Each service's own [handle](Dedup::handle) has its counters, and only that handle can invalidate its
    /// flights and entries.
    pub fn per_service(self) -> Self {
        self.with(|settings| settings.scope = StateScope::PerService)
    }

    /// Sets the name of this instance in rejections and events. Default: `"dedup"`.
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.with(|settings| settings.origin = settings.origin.clone().named(name))
    }

    /// Returns the handle of this layer, with its counters and invalidation.
    pub fn handle(&self) -> DedupHandle {
        DedupHandle::new(&self.core.shared.settings, &self.core.shared.state)
    }

    /// Returns the handle of the [`SharedCache`](crate::SharedCache) that stores the entries. `None` for
    /// any other store.
    pub fn shared_cache(&self) -> Option<SharedCacheHandle>
    where
        C: MaybeShared,
    {
        self.core.shared.policy.shared_cache()
    }

    fn errors<E2>(self, errors: E2) -> DedupLayer<M, K, C, E2> {
        let DedupConfig { keys, mode, shared, .. } = self.core;
        DedupLayer { core: DedupConfig { mode, keys, errors, shared } }
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut Arc::make_mut(&mut self.core.shared).settings);
        self
    }
}

impl<S, M, K, C, E> Layer<S> for DedupLayer<M, K, C, E>
where
    M: Clone,
    K: Clone,
    C: Clone,
    E: Clone,
{
    type Service = Dedup<S, M, K, C, E>;

    fn layer(&self, inner: S) -> Self::Service {
        let mut core = self.core.clone();
        if core.shared.settings.scope == StateScope::PerService {
            let SharedConfig { policy, settings, .. } = &*core.shared;
            let (policy, settings) = (policy.clone(), settings.clone());
            core.shared =
                Arc::new(SharedConfig { policy, settings, state: Arc::new(DedupState::default()) });
        }
        Dedup::new(inner, core)
    }
}

impl<M0, M, K, C, E> Bind<M> for DedupLayer<M0, K, C, E> {
    type Bound = DedupLayer<M, K, C, E>;

    fn bind(self, mode: M) -> DedupLayer<M, K, C, E> {
        let DedupConfig { keys, errors, shared, .. } = self.core;
        DedupLayer { core: DedupConfig { mode, keys, errors, shared } }
    }
}
