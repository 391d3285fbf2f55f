use std::{
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{
    Attempt, Criticality, Deadline, Enforcement, Judge, Plain, Propagate, Respond, give_back_ready,
    take_ready,
};
use tower_service::Service;

use crate::{
    ConcurrencyLimit, IgnoreOutcome, ResponseFuture, ThrottleHandle,
    future::{NotStarted, ThrottleGuard, Waiting, WaitingSettings},
    limit::{Admission, CallInfo, Limit, LimitPermit, LimitTemplate, Refusal, Settings},
};

/// The service of [`ThrottleLayer`](crate::ThrottleLayer).
#[derive(Clone, Debug)]
pub struct Throttle<S, M = Plain, L = ConcurrencyLimit, J = IgnoreOutcome> {
    inner: S,
    limit: L,
    settings: Arc<Settings>,
    mode: M,
    judge: J,
}

impl<S, M, L, J> Throttle<S, M, L, J> {
    pub(crate) const fn new(
        inner: S,
        limit: L,
        settings: Arc<Settings>,
        mode: M,
        judge: J,
    ) -> Self {
        Self { inner, limit, settings, mode, judge }
    }
}

impl<S, M, L: LimitTemplate, J> Throttle<S, M, L, J> {
    /// Returns the handle of this service's limit and counters, which are the layer's unless the
    /// layer is [`per_service`](crate::ThrottleLayer::per_service).
    pub fn handle(&self) -> ThrottleHandle<L::View> {
        ThrottleHandle::new(self.limit.view(), &self.settings)
    }
}

impl<S, Req, M, L, J> Service<Req> for Throttle<S, M, L, J>
where
    S: Service<Req> + Clone,
    L: Limit<Req>,
    M: Respond<Req, S::Response, S::Error> + Propagate<Req>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    type Response = M::Response<ThrottleGuard<L::Permit>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, M, L, J>;

    /// The inner service's readiness. The limit decides in `call`, where a rejection has a
    /// response.
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Req) -> Self::Future {
        // Writes the header even if no criticality was read: an ignored header may come from an
        // untrusted client.
        let (seed, asked) = self.mode.seed_and_criticality(&mut request);
        let criticality = asked.unwrap_or_else(Criticality::current);
        let hint = self.mode.hint(&seed);
        let seeds = (seed, self.judge.seed_hinted(&self.mode, &request, hint));
        let means = (self.mode.clone(), self.judge.clone());
        let extent = self.settings.extent;
        let call = CallInfo { settings: &self.settings, criticality };
        let permit = match self.limit.admit(&request, &call) {
            Admission::Admitted(mut permit) => {
                permit.watch(|| self.mode.watch_upload(&mut request));
                Some(permit)
            }
            Admission::Unlimited => None,
            Admission::Waiting(wait) => {
                let not_started = self.wait(wait, request, criticality);
                return ResponseFuture::not_started(not_started, seeds, means, criticality, extent);
            }
            Admission::Refused(refusal) => match self.refuse(refusal, criticality) {
                Some(not_started) => {
                    return ResponseFuture::not_started(
                        not_started,
                        seeds,
                        means,
                        criticality,
                        extent,
                    );
                }
                None => None,
            },
        };
        let future = match asked {
            Some(asked) => asked.with(|| self.inner.call(request)),
            None => self.inner.call(request),
        };
        ResponseFuture::running(future, permit, seeds, means, criticality, extent)
    }
}

impl<S: Clone, M, L, J> Throttle<S, M, L, J> {
    /// Moves the ready instance into the queue with the call.
    #[cold]
    fn wait<Req, W>(
        &mut self,
        wait: W,
        request: Req,
        criticality: Criticality,
    ) -> NotStarted<S, Req, W>
    where
        M: Propagate<Req>,
    {
        self.settings.queue(criticality);
        let announced = self.mode.deadline(&request);
        NotStarted::Waiting(Waiting {
            wait,
            inner: take_ready(&mut self.inner),
            announced,
            request,
            settings: WaitingSettings::new(Arc::clone(&self.settings)),
            deadline: Deadline::whole(),
        })
    }

    /// `None` in observe mode, which admits the call.
    #[cold]
    fn refuse<Req, W>(
        &mut self,
        refusal: Refusal,
        criticality: Criticality,
    ) -> Option<NotStarted<S, Req, W>> {
        let refusal = if Attempt::current().is_spare() {
            self.settings.refuse_spare(refusal, criticality)
        } else {
            self.settings.refuse(refusal, criticality)
        };
        if self.settings.enforcement == Enforcement::Observe {
            return None;
        }
        give_back_ready(&mut self.inner);
        Some(NotStarted::Refused(refusal, Arc::clone(&self.settings)))
    }
}
