use std::task::{Context, Poll};

use buttress_core::{ByMode, Classify, Plain, Respond, Share};
use tower_service::Service;

use crate::{
    DedupHandle, FlightGuard, KeySource, NoCache, ResponseFuture, SharedService, UnsharedErrors,
    cache::CachePolicy,
    call::{Call, DedupConfig, Of, start},
};

/// The service that [`DedupLayer`](crate::DedupLayer) makes.
#[derive(Clone, Debug)]
pub struct Dedup<S, M = Plain, K = ByMode, C = NoCache, E = UnsharedErrors> {
    inner: S,
    core: DedupConfig<M, K, C, E>,
}

impl<S, M, K, C, E> Dedup<S, M, K, C, E> {
    pub(crate) const fn new(inner: S, core: DedupConfig<M, K, C, E>) -> Self {
        Self { inner, core }
    }

    /// Returns the handle of this service, with its counters and invalidation. All services of a layer
    /// share them, unless the layer is [`per_service`](crate::DedupLayer::per_service).
    pub fn handle(&self) -> DedupHandle {
        DedupHandle::new(&self.core.shared.settings, &self.core.shared.state)
    }
}

impl<S, Req, M, K, C, E> Service<Req> for Dedup<S, M, K, C, E>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    M: Share<S::Response>
        + Respond<Req, <M as Share<S::Response>>::Response, S::Error>
        + Classify<Req, S::Response, S::Error>,
    K: KeySource<M, Req>,
    C: CachePolicy<M, K::Key, Req, S::Response, S::Error>,
    Of<S, Req, M, K, C, E>: Call<
            Request = Req,
            Service = S,
            Response = S::Response,
            Error = S::Error,
            Body = <M as Share<S::Response>>::Response,
            Key = K::Key,
            Keys = K,
            Mode = M,
            Cache = C,
            Errors = E,
        >,
{
    type Response =
        <M as Respond<Req, <M as Share<S::Response>>::Response, S::Error>>::Response<FlightGuard>;
    type Error = S::Error;
    type Future = ResponseFuture<Of<S, Req, M, K, C, E>>;

    /// Always ready. The flight waits for the readiness of the inner service.
    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        ResponseFuture::new(start(&self.core, &self.inner, request))
    }
}
