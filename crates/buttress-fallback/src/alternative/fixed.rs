use std::{fmt, future::Pending, sync::Arc};

use buttress_core::{Source, Verdict};

use super::{Alternative, Begun, FailedCall, sealed::Sealed};
use crate::settings::{Failure, Settings};

/// Answers with a clone of a value, as [`FallbackLayer::value`](crate::FallbackLayer::value) sets.
pub struct FixedAnswer<V> {
    // Shared, so that a call which succeeds clones a count and not the value.
    value: Arc<V>,
}

impl<V> FixedAnswer<V> {
    pub(crate) fn new(value: V) -> Self {
        Self { value: Arc::new(value) }
    }
}

impl<V: Clone, M, J, Req, Res, E> Alternative<M, J, Req, Res, E> for FixedAnswer<V> {
    type Response = V;
    type Prepared = Self;
    type Work = Pending<Result<(V, Verdict), Failure>>;

    const SOURCE: Source = Source::Value;

    #[inline]
    fn prepare(&self, _: &Settings, _: &M, request: Req) -> (Req, Self) {
        (request, self.clone())
    }

    fn begin(
        prepared: &mut Self,
        _: FailedCall<'_, M, J>,
        _: Result<&Res, &E>,
    ) -> Begun<V, Self::Work> {
        Begun::Answered(V::clone(&prepared.value))
    }
}

impl<V> Sealed for FixedAnswer<V> {}

impl<V> Clone for FixedAnswer<V> {
    #[inline]
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value) }
    }
}

impl<V> fmt::Debug for FixedAnswer<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedAnswer").finish_non_exhaustive()
    }
}
