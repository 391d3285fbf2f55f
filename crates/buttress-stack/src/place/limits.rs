use std::{hash::Hash, sync::Arc};

use buttress_throttle::{
    AcceptRatioLimit, Adapt, Adaptive, ConcurrencyLimit, Fixed, FleetCells, Keyed, LimitTemplate,
    RateLimit, ThrottleHandle, ThrottleLayer,
};

use crate::handle::ThrottleControl;

/// A limit of the throttle, as a stack sets it up.
///
/// This trait is sealed. Every limit implements it.
pub trait StackLimit: LimitTemplate + Clone {
    /// The same layer with its random numbers made repeatable, if the limit draws any.
    #[doc(hidden)]
    fn reseed<M, J>(layer: ThrottleLayer<M, Self, J>, seed: u64) -> ThrottleLayer<M, Self, J>;

    /// The handle without its type.
    #[doc(hidden)]
    fn control(handle: ThrottleHandle<Self::View>) -> Arc<dyn ThrottleControl>;
}

macro_rules! limits {
    ($([$($parameter:tt)*] $limit:ty, $seed:expr;)*) => {$(
        impl<$($parameter)*> StackLimit for $limit {
            fn reseed<M, J>(
                layer: ThrottleLayer<M, Self, J>,
                seed: u64,
            ) -> ThrottleLayer<M, Self, J> {
                $seed(layer, seed)
            }

            fn control(handle: ThrottleHandle<Self::View>) -> Arc<dyn ThrottleControl> {
                Arc::new(handle)
            }
        }
    )*};
}

limits! {
    [] ConcurrencyLimit<Fixed>, ThrottleLayer::seed;
    [A: Adapt] ConcurrencyLimit<Adaptive<A>>, ThrottleLayer::seed;
    [] AcceptRatioLimit, ThrottleLayer::seed;
    [W: Clone] RateLimit<W>, |layer, _| layer;
    [W: Clone] RateLimit<W, FleetCells>, |layer, _| layer;

    [K: Hash + Eq + Send + Sync + 'static, F: Clone]
    Keyed<ConcurrencyLimit<Fixed>, K, F>, ThrottleLayer::seed;

    [A: Adapt, K: Hash + Eq + Send + Sync + 'static, F: Clone]
    Keyed<ConcurrencyLimit<Adaptive<A>>, K, F>, ThrottleLayer::seed;

    [K: Hash + Eq + Send + Sync + 'static, F: Clone]
    Keyed<AcceptRatioLimit, K, F>, ThrottleLayer::seed;

    [W: Clone + Send + Sync + 'static, K: Hash + Eq + Send + Sync + 'static, F: Clone]
    Keyed<RateLimit<W>, K, F>, |layer, _| layer;

    [W: Clone + Send + Sync + 'static, K: Hash + Eq + Send + Sync + 'static, F: Clone]
    Keyed<RateLimit<W, FleetCells>, K, F>, |layer, _| layer;
}
