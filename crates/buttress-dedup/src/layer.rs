use std::{borrow::Cow, sync::Arc};

use buttress_core::{Bind, By, ByMode, ByteBudget, Enforcement, KeyOf, Plain, StateScope};
use tower_layer::Layer;

use crate::{
    Cache, Dedup, DedupHandle, NoCache, UnsharedErrors,
    call::{DedupConfig, SharedConfig},
    settings::{PanicPolicy, Settings},
    share_error::{ClonedErrors, MappedErrors},
    state::DedupState,
};

/// Makes one call of many that ask for the same at the same time, and gives all of them its answer.
///
/// All clones of a layer, and all services it makes, share its flights and what it keeps, unless it is
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
    /// Requests are the same if the mode says so: in `Plain` mode if they are equal, in `Http` mode if
    /// they are safe to share and would be answered alike.
    pub fn new() -> Self {
        Self::of(ByMode)
    }
}

impl<F> DedupLayer<Plain, By<F>> {
    /// Requests are the same if `key` gives them the same key, and go alone if it gives none.
    ///
    /// Whatever an answer depends on belongs into the key: who asks, above all. The key is owned, and the
    /// closure decides alone: in `Http` mode too a `POST` that has a key is shared, and kept, like any
    /// other request, and no request outdates what is kept unless a [`KeyOf`] of yours says so.
    pub fn keyed<Req>(key: F) -> Self
    where
        F: KeyOf<Req>,
    {
        Self::of(By(key))
    }
}

impl<K> DedupLayer<Plain, K> {
    fn of(keys: K) -> Self {
        let shared =
            SharedConfig { policy: NoCache, settings: Settings::new(), state: Arc::default() };
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
    /// Keeps answers for later callers, as `keep` says. What the layer has in flight or keeps already
    /// stays with the clones, and the handles, made before.
    pub fn cache<St, J>(self, cache: Cache<St, J>) -> DedupLayer<M, K, Cache<St, J>, E> {
        let DedupConfig { keys, mode, errors, shared } = self.core;
        let settings = shared.settings.clone();
        let shared = Arc::new(SharedConfig { policy: cache, settings, state: Arc::default() });
        DedupLayer { core: DedupConfig { mode, keys, errors, shared } }
    }

    /// Gives an error to everybody who waited for it, by cloning it. By default each caller makes a
    /// call of its own after an error, one at a time: while the service is down, the last of n callers
    /// waits for n calls.
    pub fn share_errors(self) -> DedupLayer<M, K, C, ClonedErrors> {
        self.errors(ClonedErrors)
    }

    /// Gives an error to everybody who waited for it, where `share` makes another one of it.
    ///
    /// The first caller gets the error itself. Of what `share` makes of that, it makes one more for each
    /// of the others.
    pub fn share_errors_with<Err, F>(self, share: F) -> DedupLayer<M, K, C, MappedErrors<F>>
    where
        F: Fn(&Err) -> Option<Err> + Clone,
    {
        self.errors(MappedErrors(share))
    }

    /// Limits how much the responses hold that are shared while they are on their way, in bytes, all of
    /// them together. Default: 64 MiB.
    ///
    /// A response that says that it needs more than is left is not shared. A body that turns out to need
    /// more goes on for its callers within what it has by then, or with one frame at a time.
    pub fn max_shared_bytes(self, bytes: usize) -> Self {
        self.with(|settings| settings.shared_bytes = Arc::new(ByteBudget::new(bytes)))
    }

    /// Lets a panic go on in whoever met it, instead of answering with a rejection. Everybody else who
    /// waited still gets the rejection.
    pub fn resume_panics(self) -> Self {
        self.with(|settings| settings.panic_policy = PanicPolicy::Resumed)
    }

    /// Counts and reports what the layer would do, and shares nothing.
    ///
    /// Keys are computed, and flights and entries are kept as usual. A call that would join a flight or
    /// be answered from the cache is counted, reported with `observed = true`, and makes a call of its
    /// own. A failure is not replaced with a stale entry, and no refresh is started: the call that would
    /// have started the refresh renews the entry itself. Panics are resumed.
    #[doc(alias("shadow mode", "dry run"))]
    pub fn observe(self) -> Self {
        self.with(|settings| {
            settings.enforcement = Enforcement::Observe;
            settings.panic_policy = PanicPolicy::Resumed;
        })
    }

    /// Gives every service this layer makes flights and answers of its own. The numbers are those of each
    /// service's [handle](Dedup::handle), which alone can make it forget.
    pub fn per_service(self) -> Self {
        self.with(|settings| settings.scope = StateScope::PerService)
    }

    /// Names this instance in rejections and events. `"dedup"` by default.
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.with(|settings| settings.origin = settings.origin.clone().named(name))
    }

    /// Live numbers, and the means to forget what is in flight and kept.
    pub fn handle(&self) -> DedupHandle {
        DedupHandle::new(Arc::clone(&self.core.shared.state))
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
