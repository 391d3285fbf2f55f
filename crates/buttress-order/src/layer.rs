use std::{borrow::Cow, fmt, hash::Hash, marker::PhantomData, sync::Arc};

use buttress_core::{Bind, Extent, FixedKey, KeyOf, Plain, StateScope};
use buttress_state::{Fresh, KeyTable};
use tower_layer::Layer;

use crate::{Latest, Order, OrderHandle, Overlapping, Serial, lane::Lane, settings::Settings};

/// Orders the calls of a key: one at a time in the order of arrival, or the latest wins.
///
/// All clones of a layer, and all services it makes, share the turns, unless the layer is
/// [`per_service`](Self::per_service). [`queue`](OrderLayer::queue), [`max_keys`](Self::max_keys)
/// and [`overlapping`](OrderLayer::overlapping) return a layer with fresh state and counters. Clones
/// and handles made before keep the former state. Every other option changes this value only.
#[doc(alias("mutex", "sequencer", "switchMap", "debounce"))]
pub struct OrderLayer<M = Plain, P = Serial, K = (), F = ()> {
    lanes: Arc<KeyTable<K, Lane>>,
    key: F,
    settings: Arc<Settings>,
    mode: M,
    policy: PhantomData<fn() -> P>,
}

impl OrderLayer {
    /// Runs one call at a time for each key, in the order of arrival.
    ///
    /// A closure returns an owned key, or `None` for a request that is not ordered. The type of its
    /// argument must be written out.
    ///
    /// ```
    /// use buttress_order::OrderLayer;
    ///
    /// let layer = OrderLayer::serial(|(account, _): &(u32, i64)| Some(*account)).queue(16);
    /// ```
    #[doc(alias("concatMap", "FIFO", "per key mutex"))]
    pub fn serial<Req, F>(key: F) -> OrderLayer<Plain, Serial, F::Key, F>
    where
        F: KeyOf<Req>,
    {
        OrderLayer::over(Lane::serial(QUEUE), key)
    }

    /// Ends the earlier calls of a key when a call comes. The new call begins when they are gone.
    ///
    /// The key is that of [`serial`](Self::serial). The ended calls fail with
    /// [`Superseded`](buttress_core::Reason::Superseded).
    ///
    /// ```
    /// use buttress_order::OrderLayer;
    ///
    /// let layer = OrderLayer::latest(|(session, _): &(u32, String)| Some(*session));
    /// ```
    #[doc(alias("switchMap", "cancelRefetch", "takeLatest", "debounce"))]
    pub fn latest<Req, F>(key: F) -> OrderLayer<Plain, Latest, F::Key, F>
    where
        F: KeyOf<Req>,
    {
        OrderLayer::over(Lane::latest(), key)
    }

    /// Runs one call at a time for each key, as [`serial`](Self::serial) does. For a key whose type
    /// does not depend on the request, such as `buttress_http::Authority`, the host of a request.
    #[doc(alias("per host", "per authority"))]
    pub fn serial_per<F: FixedKey>(key: F) -> OrderLayer<Plain, Serial, <F as FixedKey>::Key, F> {
        OrderLayer::over(Lane::serial(QUEUE), key)
    }

    /// Ends the earlier calls of a key when a call comes, as [`latest`](Self::latest) does. For a
    /// key whose type does not depend on the request.
    pub fn latest_per<F: FixedKey>(key: F) -> OrderLayer<Plain, Latest, <F as FixedKey>::Key, F> {
        OrderLayer::over(Lane::latest(), key)
    }
}

impl<M, K: Hash + Eq, F> OrderLayer<M, Serial, K, F> {
    /// Sets the maximum number of calls that wait for a turn, per key. Default: 64. 0: a call that
    /// finds another call of its key is rejected.
    ///
    /// A call beyond the maximum ends with [`Overloaded`](buttress_core::Reason::Overloaded) at
    /// once. If the latest call wins, at most one call waits, so this option does not exist there.
    /// Returns a layer with fresh state.
    pub fn queue(self, max: usize) -> Self {
        let max_keys = self.lanes.max_keys();
        self.with_lanes(Lane::serial(max), max_keys)
    }
}

impl<M, K: Hash + Eq, F> OrderLayer<M, Latest, K, F> {
    /// Begins each call at once, while the call that it supersedes still ends. Default: off, a call
    /// begins when the older work is gone.
    ///
    /// For reads: the work of two calls of a key may run at the same time for a short while. Returns
    /// a layer with fresh state.
    pub fn overlapping(self) -> OrderLayer<M, Overlapping, K, F> {
        let max_keys = self.lanes.max_keys();
        self.with_lanes(Lane::overlapping(), max_keys)
    }
}

impl<M, P, K: Hash + Eq, F> OrderLayer<M, P, K, F> {
    /// Sets the maximum number of keys in use, approximately, because each shard of the table has
    /// its part of the maximum. Default: 65,536. 0: all calls share one order.
    ///
    /// All further keys share one order, as if they were a single key. If the latest call wins,
    /// calls of these keys supersede each other. Returns a layer with fresh state.
    pub fn max_keys(self, max: usize) -> Self {
        let lane = self.lanes.template().fresh();
        self.with_lanes(lane, max)
    }

    /// Returns the handle of the layer: live numbers.
    pub fn handle(&self) -> OrderHandle<K> {
        OrderHandle::new(&self.lanes, &self.settings)
    }

    /// Ends a turn at the response head. Default: when the body has ended.
    ///
    /// A response whose head is out can then no longer be superseded.
    #[doc(alias("streaming", "time to first byte"))]
    pub fn until_head(self) -> Self {
        self.with(|settings| settings.extent = Extent::UntilHead)
    }

    /// Gives each service of this layer turns and counters of its own, for example for each endpoint
    /// of a balancer. Default: all services share them.
    ///
    /// The clones of a service share them. [`Order::handle`](crate::Order::handle) reads them. The
    /// layer's own handle then counts nothing.
    ///
    /// Do not use this option with axum, which applies a layer once per route or request.
    pub fn per_service(self) -> Self {
        self.with(|settings| settings.scope = StateScope::PerService)
    }

    /// Sets the name of this instance in rejections and events. Default: `"order"`.
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.with(|settings| settings.origin = settings.origin.clone().named(name))
    }

    /// The same layer with no keys, and with counters from zero.
    fn with_lanes<Q>(self, template: Lane, max_keys: usize) -> OrderLayer<M, Q, K, F> {
        let Self { key, settings, mode, .. } =
            self.with(|settings| settings.state = Arc::default());
        let lanes = Arc::new(KeyTable::new(template, max_keys));
        OrderLayer { lanes, key, settings, mode, policy: PhantomData }
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<P, K: Hash + Eq, F> OrderLayer<Plain, P, K, F> {
    fn over(lane: Lane, key: F) -> Self {
        let lanes = Arc::new(KeyTable::new(lane, MAX_KEYS));
        let settings = Arc::new(Settings::new());
        Self { lanes, key, settings, mode: Plain, policy: PhantomData }
    }
}

impl<S, M, P, K, F> Layer<S> for OrderLayer<M, P, K, F>
where
    M: Clone,
    K: Hash + Eq,
    F: Clone,
{
    type Service = Order<S, M, K, F>;

    fn layer(&self, inner: S) -> Self::Service {
        let lanes = match self.settings.scope {
            StateScope::PerLayer => Arc::clone(&self.lanes),
            StateScope::PerService => {
                let template = self.lanes.template().fresh();
                Arc::new(KeyTable::new(template, self.lanes.max_keys()))
            }
        };
        let (key, mode) = (self.key.clone(), self.mode.clone());
        Order::new(inner, lanes, key, self.settings.for_service(), mode)
    }
}

impl<M0, M, P, K, F> Bind<M> for OrderLayer<M0, P, K, F> {
    type Bound = OrderLayer<M, P, K, F>;

    fn bind(self, mode: M) -> OrderLayer<M, P, K, F> {
        let Self { lanes, key, settings, policy, .. } = self;
        OrderLayer { lanes, key, settings, mode, policy }
    }
}

/// The clone shares the turns. `K` need not be `Clone`.
impl<M: Clone, P, K, F: Clone> Clone for OrderLayer<M, P, K, F> {
    fn clone(&self) -> Self {
        Self {
            lanes: Arc::clone(&self.lanes),
            key: self.key.clone(),
            settings: Arc::clone(&self.settings),
            mode: self.mode.clone(),
            policy: PhantomData,
        }
    }
}

impl<M: fmt::Debug, P, K, F> fmt::Debug for OrderLayer<M, P, K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderLayer")
            .field("settings", &self.settings)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// The number of waiting calls per key.
const QUEUE: usize = 64;

const MAX_KEYS: usize = 65_536;
