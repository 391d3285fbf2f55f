use buttress_core::Bind;
use tower_layer::Layer;

use super::{
    AttemptPlace, BreakerPlace, DeadlinePlace, DedupPlace, FallbackPlace, HedgePlace, OrderPlace,
    Place, RetryPlace, ThrottlePlace, sealed,
};

/// A layer of your own, or of another crate, in a place of a stack.
///
/// The stack knows nothing of the layer: no name, seed, budget or mode is given to it, its settings
/// are not in the configuration, and no misfit is found in it. A layer of buttress in a place of
/// another pattern needs its mode before: `Custom(layer.http())`.
///
/// ```
/// use buttress_stack::Custom;
/// use tower::util::MapRequestLayer;
///
/// let double = MapRequestLayer::new(|row: u32| row * 2);
/// let client = buttress_stack::client().fallback(Custom(double));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Custom<L>(pub L);

impl<S, L: Layer<S>> Layer<S> for Custom<L> {
    type Service = L::Service;

    fn layer(&self, inner: S) -> L::Service {
        self.0.layer(inner)
    }
}

impl<M, L> Bind<M> for Custom<L> {
    type Bound = Self;

    fn bind(self, _: M) -> Self {
        self
    }
}

impl<L> sealed::Sealed for Custom<L> {}

impl<L> Place for Custom<L> {
    fn renamed(self, _: String) -> Self {
        self
    }
}

impl<L> FallbackPlace for Custom<L> {}
impl<L> DeadlinePlace for Custom<L> {}
impl<L> DedupPlace for Custom<L> {}
impl<L> OrderPlace for Custom<L> {}
impl<L> RetryPlace for Custom<L> {}
impl<L> HedgePlace for Custom<L> {}
impl<L> BreakerPlace for Custom<L> {}
impl<L> ThrottlePlace for Custom<L> {}
impl<L> AttemptPlace for Custom<L> {}
