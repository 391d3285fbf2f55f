use std::{
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{Blend, ByMode, Judge, Plain};
use tower_service::Service;

use crate::{
    FallbackHandle, ResponseFuture,
    alternative::{Alternative, FixedAnswer},
    aside::Aside,
    call_parts::CallParts,
    settings::{Readiness, Settings},
};

/// The service of [`FallbackLayer`](crate::FallbackLayer).
#[derive(Clone, Debug)]
pub struct Fallback<S, M = Plain, A = FixedAnswer<()>, J = ByMode> {
    inner: S,
    settings: Arc<Settings>,
    alternative: A,
    mode: M,
    judge: J,
}

impl<S, M, A, J> Fallback<S, M, A, J> {
    pub(crate) const fn new(
        inner: S,
        settings: Arc<Settings>,
        alternative: A,
        mode: M,
        judge: J,
    ) -> Self {
        Self { inner, settings, alternative, mode, judge }
    }

    /// Returns a handle to the live numbers of this service, its clones, and the services that
    /// share its counters.
    pub fn handle(&self) -> FallbackHandle {
        FallbackHandle::new(&self.settings)
    }
}

impl<S, Req, M, A, J> Service<Req> for Fallback<S, M, A, J>
where
    S: Service<Req> + Clone,
    A: Alternative<M, J, Req, S::Response, S::Error>,
    J: Judge<M, Req, S::Response, S::Error>,
    M: Blend<S::Response, A::Response>,
{
    type Response = M::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, M, A, J>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match self.settings.readiness {
            Readiness::BeforeCall => self.inner.poll_ready(cx),
            Readiness::InCall => Poll::Ready(Ok(())),
        }
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.settings.state.note_call();
        let (mode, judge) = (self.mode.clone(), self.judge.clone());
        let seed = judge.seed(&mode, &request);
        let (request, prepared) = self.alternative.prepare(&self.settings, &mode, request);
        let (first, aside) = match self.settings.readiness {
            // `inner` is the instance that is ready.
            Readiness::BeforeCall => (Some(self.inner.call(request)), Aside::NOTHING),
            // A clone, because `inner` was never polled and must reserve nothing.
            Readiness::InCall => (None, Aside::readying(self.inner.clone(), request)),
        };
        let settings = Arc::clone(&self.settings);
        ResponseFuture::new(first, aside, CallParts { settings, mode, judge, seed, prepared })
    }
}
