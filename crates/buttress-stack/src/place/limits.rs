use std::hash::Hash;

use buttress_throttle::{
    AcceptRatioLimit, Adapt, Adaptive, ConcurrencyLimit, Fixed, Keyed, LimitTemplate, RateLimit,
    ThrottleLayer,
};

/// A limit of the throttle, as a stack sets it up.
///
/// This trait is sealed. Every limit implements it.
pub trait StackLimit: LimitTemplate + Clone {
    /// The same layer with its random numbers made repeatable, if the limit draws any.
    #[doc(hidden)]
    fn reseed<M, J>(layer: ThrottleLayer<M, Self, J>, seed: u64) -> ThrottleLayer<M, Self, J>;
}

macro_rules! seeded {
    ($([$($parameter:tt)*] $limit:ty;)*) => {$(
        impl<$($parameter)*> StackLimit for $limit {
            fn reseed<M, J>(
                layer: ThrottleLayer<M, Self, J>,
                seed: u64,
            ) -> ThrottleLayer<M, Self, J> {
                layer.seed(seed)
            }
        }
    )*};
}

seeded! {
    [] ConcurrencyLimit<Fixed>;
    [A: Adapt] ConcurrencyLimit<Adaptive<A>>;
    [] AcceptRatioLimit;
    [K: Hash + Eq, F: Clone] Keyed<ConcurrencyLimit<Fixed>, K, F>;
    [A: Adapt, K: Hash + Eq, F: Clone] Keyed<ConcurrencyLimit<Adaptive<A>>, K, F>;
    [K: Hash + Eq, F: Clone] Keyed<AcceptRatioLimit, K, F>;
}

/// A rate draws no random numbers.
impl<W: Clone> StackLimit for RateLimit<W> {
    fn reseed<M, J>(layer: ThrottleLayer<M, Self, J>, _: u64) -> ThrottleLayer<M, Self, J> {
        layer
    }
}

impl<W: Clone, K: Hash + Eq, F: Clone> StackLimit for Keyed<RateLimit<W>, K, F> {
    fn reseed<M, J>(layer: ThrottleLayer<M, Self, J>, _: u64) -> ThrottleLayer<M, Self, J> {
        layer
    }
}
