use std::{fmt, future::Pending, sync::Arc};

use buttress_core::{Source, Verdict};

use super::{Alternative, Begun, FailedCall, sealed::Sealed};
use crate::settings::{Failure, Settings};

/// Answers with the result of a closure, as [`FallbackLayer::answer`](crate::FallbackLayer::answer)
/// sets.
pub struct ComputedAnswer<F> {
    // Shared, so that a call which succeeds clones a count and not the closure.
    answer: Arc<F>,
}

impl<F> ComputedAnswer<F> {
    pub(crate) fn new(answer: F) -> Self {
        Self { answer: Arc::new(answer) }
    }
}

impl<F, V, M, J, Req, Res, E> Alternative<M, J, Req, Res, E> for ComputedAnswer<F>
where
    F: Fn(Verdict, Result<&Res, &E>) -> V,
{
    type Response = V;
    type Prepared = Self;
    type Work = Pending<Result<(V, Verdict), Failure>>;

    const SOURCE: Source = Source::Answer;

    #[inline]
    fn prepare(&self, _: &Settings, _: &M, request: Req) -> (Req, Self) {
        (request, self.clone())
    }

    fn begin(
        prepared: &mut Self,
        call: FailedCall<'_, M, J>,
        outcome: Result<&Res, &E>,
    ) -> Begun<V, Self::Work> {
        Begun::Answered((prepared.answer)(call.verdict, outcome))
    }
}

impl<F> Sealed for ComputedAnswer<F> {}

impl<F> Clone for ComputedAnswer<F> {
    #[inline]
    fn clone(&self) -> Self {
        Self { answer: Arc::clone(&self.answer) }
    }
}

impl<F> fmt::Debug for ComputedAnswer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComputedAnswer").finish_non_exhaustive()
    }
}
