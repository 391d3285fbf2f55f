use std::{
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{ByMode, Judge, Plain, Respond, SharedSettings, seeds};
use tower_service::Service;

use super::{
    future::ResponseFuture, guard::MeterGuard, handle::MeterHandle, measurement::Measurement,
    settings::Settings,
};
use crate::Record;

/// The service of [`MeterLayer`](crate::MeterLayer).
#[derive(Debug)]
pub struct Meter<S, M = Plain, R = (), J = ByMode> {
    inner: S,
    settings: Arc<SharedSettings<Settings<R>>>,
    mode: M,
    judge: J,
}

impl<S, M, R, J> Meter<S, M, R, J> {
    pub(crate) const fn new(
        inner: S,
        settings: Arc<SharedSettings<Settings<R>>>,
        mode: M,
        judge: J,
    ) -> Self {
        Self { inner, settings, mode, judge }
    }

    /// Returns the handle of this service's counts, which are the layer's unless the layer is
    /// [`per_service`](crate::MeterLayer::per_service).
    pub fn handle(&self) -> MeterHandle {
        MeterHandle::new(&self.settings)
    }
}

impl<S: Clone, M: Clone, R, J: Clone> Clone for Meter<S, M, R, J> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            settings: Arc::clone(&self.settings),
            mode: self.mode.clone(),
            judge: self.judge.clone(),
        }
    }
}

impl<S, Req, M, R, J> Service<Req> for Meter<S, M, R, J>
where
    S: Service<Req>,
    M: Respond<Req, S::Response, S::Error>,
    R: Record,
    J: Judge<M, Req, S::Response, S::Error>,
{
    type Response = M::Response<MeterGuard<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, M, R, J>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let seeds = seeds(&self.mode, &self.judge, &request);
        let means = (self.mode.clone(), self.judge.clone());
        let measurement = Measurement::begin(&self.settings);
        // A panic of the service drops the measurement, which ends the call.
        ResponseFuture::new(self.inner.call(request), measurement, seeds, means)
    }
}
