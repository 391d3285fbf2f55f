use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{
    Deadline, Enforcement, Extent, NoTimeLeft, Plain, Propagate, Respond, SeedAndDeadline,
    SharedSettings, give_back_ready,
};
use tokio::time::Instant;
use tower_service::Service;

use crate::{
    DeadlineHandle, ResponseFuture,
    readiness::Readiness,
    scoped_call::{ScopedCall, ScopedFuture},
    settings::{LateCall, Settings},
    timed_call::TimedCall,
};

/// The service of [`DeadlineLayer`](crate::DeadlineLayer).
#[derive(Debug)]
pub struct DeadlineService<S, M = Plain> {
    inner: S,
    settings: Arc<SharedSettings<Settings>>,
    mode: M,
    readiness: Readiness,
}

impl<S, M> DeadlineService<S, M> {
    pub(crate) fn new(inner: S, settings: Arc<SharedSettings<Settings>>, mode: M) -> Self {
        let readiness = Readiness::at_rest(&settings);
        Self { inner, settings, mode, readiness }
    }

    /// Returns a handle to the live numbers of this service, its clones, and the services that
    /// share its counters.
    pub fn handle(&self) -> DeadlineHandle {
        DeadlineHandle::new(&self.settings)
    }
}

impl<S: Clone, M: Clone> Clone for DeadlineService<S, M> {
    /// Returns a service that has not waited for readiness yet.
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.settings), self.mode.clone())
    }
}

impl<S, Req, M> Service<Req> for DeadlineService<S, M>
where
    S: Service<Req> + Clone,
    M: Respond<Req, S::Response, S::Error> + Propagate<Req>,
{
    type Response = M::Response<crate::DeadlineGuard>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, Req, M, M::Seed>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if !matches!(self.readiness, Readiness::Idle) {
            return self.readiness.poll_again(&mut self.inner, &self.settings, cx);
        }
        match self.inner.poll_ready(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => {
                self.readiness.poll_expiry(&mut self.inner, &self.settings, cx).map(Ok)
            }
        }
    }

    #[inline]
    fn call(&mut self, mut request: Req) -> Self::Future {
        let settings = self.settings.of_thread();
        settings.note_call();
        // Must be read before the clock: a deadline that came with no time left would otherwise
        // seem to have some.
        let SeedAndDeadline { seed, deadline: announced, announces } =
            self.mode.seed_and_deadline(&request);
        let (own, mut now) = match &self.readiness {
            Readiness::Idle => self.settings.own_deadline(),
            _ if !self.settings.is_ambient() => {
                return match self.call_scoped(request) {
                    Ok(call) => ResponseFuture::scoped(call, seed, self.mode.clone()),
                    Err(late) => self.reject(seed, late),
                };
            }
            _ => match mem::replace(&mut self.readiness, Readiness::Idle) {
                Readiness::Ready(deadline) => (deadline, None),
                Readiness::Expired(deadline) => return self.reject(seed, deadline),
                _ => self.settings.own_deadline(),
            },
        };
        let inherited = Deadline::earliest(Deadline::whole(), announced);
        let mut deadline = Deadline::earliest(own, inherited);
        let mut passed = |deadline: Deadline| {
            // One clock read serves all comparisons. A call without a deadline needs none.
            deadline.instant() <= *now.get_or_insert_with(Instant::now)
        };
        match deadline {
            Some(late)
                if passed(late)
                    || (announces && self.mode.set_deadline(&mut request, late).is_err()) =>
            {
                if self.settings.reject_late() == LateCall::Rejected {
                    return self.reject(seed, late);
                }
                deadline = own.filter(|own| !passed(*own));
                // If no time is left to announce, the request is sent without.
                let _ = deadline.map(|own| self.mode.set_deadline(&mut request, own));
            }
            _ => self.settings.note_on_time(),
        }
        if let Some(came) = announced
            && deadline == announced
        {
            came.announces();
        }
        let future = Deadline::with(deadline, || self.inner.call(request));
        let call = TimedCall::new(deadline, settings);
        ResponseFuture::timed(future, call, seed, self.mode.clone())
    }
}

impl<S: Clone, M> DeadlineService<S, M> {
    /// Makes a call whose deadline differs from the ambient deadline inside.
    ///
    /// Returns the deadline if the call must be rejected.
    #[cold]
    #[inline(never)]
    fn call_scoped<Req>(
        &mut self,
        mut request: Req,
    ) -> Result<Pin<Box<ScopedFuture<S::Future>>>, Deadline>
    where
        S: Service<Req>,
        M: Propagate<Req>,
    {
        let announced = self.mode.deadline(&request);
        let mut inherited = Deadline::earliest(Deadline::whole(), announced);
        let mut own = match mem::replace(&mut self.readiness, Readiness::IdleScoped) {
            Readiness::Ready(deadline) => deadline,
            Readiness::Expired(deadline) => return Err(deadline),
            Readiness::ReadyLate => {
                // The wait exceeded the observed deadline and was counted. The call has none left.
                return Ok(self.run_scoped(request, ScopedCall::new(None, None, &self.settings)));
            }
            _ => self.settings.own_deadline().0,
        };
        let deadline = Deadline::earliest(own, inherited);
        if deadline.is_some_and(Deadline::has_passed)
            || self.announce(&mut request, deadline, inherited).is_err()
        {
            own = match (self.settings.reject_late(), deadline) {
                (LateCall::Rejected, Some(late)) => return Err(late),
                (LateCall::Observed, _) => None,
                _ => own.filter(|own| !own.has_passed()),
            };
            inherited = None;
            // If no time is left to announce, the request is sent without.
            let _ = self.announce(&mut request, own, None);
        } else {
            self.settings.note_on_time();
            if let Some(came) = announced
                && self.settings.enforcement == Enforcement::Enforce
            {
                came.announces();
            }
        }
        Ok(self.run_scoped(request, ScopedCall::new(own, inherited, &self.settings)))
    }

    fn run_scoped<Req>(
        &mut self,
        request: Req,
        scoped: ScopedCall,
    ) -> Pin<Box<ScopedFuture<S::Future>>>
    where
        S: Service<Req>,
    {
        let future = scoped.within(|| self.inner.call(request));
        // Boxed: a scoped call is rarer, and in place it would make the future of every call larger.
        Box::pin(ScopedFuture::new(future, scoped))
    }

    /// Announces `deadline` to the service. If the own timeout ends at the head, announces the
    /// `inherited` deadline instead. If the layer only observes, checks that the deadline could be
    /// announced.
    fn announce<Req>(
        &self,
        request: &mut Req,
        deadline: Option<Deadline>,
        inherited: Option<Deadline>,
    ) -> Result<(), NoTimeLeft>
    where
        M: Propagate<Req>,
    {
        let announced =
            if self.settings.extent == Extent::UntilHead { inherited } else { deadline };
        match (announced, self.settings.enforcement) {
            (Some(deadline), Enforcement::Enforce) => self.mode.set_deadline(request, deadline),
            (Some(deadline), Enforcement::Observe) => self.mode.can_set_deadline(request, deadline),
            (None, _) => Ok(()),
        }
    }
}

impl<S: Clone, M> DeadlineService<S, M> {
    /// Rejects a call.
    ///
    /// Replaces the inner instance by a clone, so that the permit it reserved in `poll_ready` goes
    /// back.
    #[cold]
    fn reject<F, Req, Seed>(
        &mut self,
        seed: Seed,
        deadline: Deadline,
    ) -> ResponseFuture<F, Req, M, Seed>
    where
        M: Clone,
    {
        give_back_ready(&mut self.inner);
        let call = TimedCall::new(Some(deadline), self.settings.of_thread());
        ResponseFuture::rejected(call, seed, self.mode.clone())
    }
}
