use std::{
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{
    Attempt, ByMode, Deadline, Judge, MarkGaveUp, Plain, Propagate, Replay, SeedHint,
    SharedSettings,
};
use tower_service::Service;

use crate::{
    ResponseFuture, RetryHandle, attempt_time::Began, attempts::Attempts, settings::Settings,
};

/// The service of [`RetryLayer`](crate::RetryLayer).
#[derive(Clone, Debug)]
pub struct Retry<S, M = Plain, J = ByMode> {
    inner: S,
    settings: Arc<SharedSettings<Settings>>,
    mode: M,
    judge: J,
}

impl<S, M, J> Retry<S, M, J> {
    pub(crate) const fn new(
        inner: S,
        settings: Arc<SharedSettings<Settings>>,
        mode: M,
        judge: J,
    ) -> Self {
        Self { inner, settings, mode, judge }
    }

    /// Returns a handle to the live numbers of this service, its clones, and the services that
    /// share its counters.
    pub fn handle(&self) -> RetryHandle {
        RetryHandle::new(&self.settings)
    }

    /// Makes the first attempt under a deadline that came with the request.
    #[cold]
    fn call_under<Req>(&mut self, deadline: Option<Deadline>, request: Req) -> S::Future
    where
        S: Service<Req>,
    {
        if let Some(deadline) = deadline {
            deadline.announces();
        }
        let tally = self.settings.budget.tally();
        Deadline::with(deadline, || tally.run(Attempt::FIRST, || self.inner.call(request)))
    }
}

impl<S, Req, M, J> Service<Req> for Retry<S, M, J>
where
    S: Service<Req> + Clone,
    M: Replay<Req> + Propagate<Req> + MarkGaveUp<S::Response>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, M, J>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Req) -> Self::Future {
        let settings = Arc::clone(self.settings.of_thread());
        settings.note_call();
        settings.budget.deposit();
        let (mut spare, mut announced, mut hint) = (None, None, SeedHint::NONE);
        if settings.state.attempts() > 1
            && let Some(saved) = self.mode.save(&mut request)
        {
            announced = self.mode.saved_deadline(&saved);
            hint = self.mode.saved_hint(&saved);
            // `inner` is the instance that is ready. Later attempts poll the readiness of this
            // clone.
            spare = Some((self.inner.clone(), saved));
        }
        let seed = self.judge.seed_hinted(&self.mode, &request, hint);
        let began = Began::now(settings.late_attempts, || self.mode.watch_upload(&mut request));
        let deadline = Deadline::earliest(Deadline::whole(), announced);
        let tally = settings.budget.tally();
        let future = if announced.is_none() {
            tally.run(Attempt::FIRST, || self.inner.call(request))
        } else {
            self.call_under(deadline, request)
        };
        let (mode, judge) = (self.mode.clone(), self.judge.clone());
        let attempts = Attempts::new(settings, mode, judge, seed, spare, deadline, began);
        ResponseFuture::new(future, attempts)
    }
}
