use buttress_core::Bind;
use tower_layer::Layer;

use super::{
    AttemptPlace, BreakerPlace, DeadlinePlace, DedupPlace, FallbackPlace, HedgePlace, OrderPlace,
    Place, RetryPlace, ThrottlePlace, sealed,
};

/// An empty place of a stack. It leaves the service as it is, and costs a call nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Off;

impl<S> Layer<S> for Off {
    type Service = S;

    fn layer(&self, inner: S) -> S {
        inner
    }
}

impl<M> Bind<M> for Off {
    type Bound = Self;

    fn bind(self, _: M) -> Self {
        self
    }
}

impl sealed::Sealed for Off {}

impl Place for Off {
    fn renamed(self, _: String) -> Self {
        self
    }
}

impl FallbackPlace for Off {}
impl DeadlinePlace for Off {}
impl DedupPlace for Off {}
impl OrderPlace for Off {}
impl RetryPlace for Off {}
impl HedgePlace for Off {}
impl BreakerPlace for Off {}
impl ThrottlePlace for Off {}
impl AttemptPlace for Off {}
