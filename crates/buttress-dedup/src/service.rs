use std::{
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{ByMode, Classify, Plain, Respond, Share};
use tower_service::Service;

use crate::{
    DedupConfig, DedupHandle, FlightGuard, NoCache, ResponseFuture, Setup, SharedService,
    UnsharedErrors, call::start,
};

/// The service of [`DedupLayer`](crate::DedupLayer).
#[derive(Clone, Debug)]
pub struct Dedup<S, K = ByMode, M = Plain, P = NoCache, R = UnsharedErrors> {
    inner: S,
    core: DedupConfig<K, M, P, R>,
}

impl<S, K, M, P, R> Dedup<S, K, M, P, R> {
    pub(crate) const fn new(inner: S, core: DedupConfig<K, M, P, R>) -> Self {
        Self { inner, core }
    }

    /// Live numbers of this service's flights, and the means to forget them: those of all services of
    /// its layer, unless that is [`per_service`](crate::DedupLayer::per_service).
    pub fn handle(&self) -> DedupHandle {
        DedupHandle::new(Arc::clone(&self.core.shared.state))
    }
}

impl<S, Req, K, M, P, R> Service<Req> for Dedup<S, K, M, P, R>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    K: Clone,
    M: Share<S::Response>
        + Respond<Req, <M as Share<S::Response>>::Response, S::Error>
        + Classify<Req, S::Response, S::Error>,
    DedupConfig<K, M, P, R>: Setup<S, Req, Mode = M>,
{
    type Response =
        <M as Respond<Req, <M as Share<S::Response>>::Response, S::Error>>::Response<FlightGuard>;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, DedupConfig<K, M, P, R>>;

    /// Always ready: the inner service is asked when it is needed, inside the flight.
    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        ResponseFuture::new(start(&self.core, &self.inner, request))
    }
}
