use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{
    Deadline, Enforcement, Extent, NoTimeLeft, Plain, Propagate, Respond, give_back_ready,
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
    settings: Arc<Settings>,
    mode: M,
    readiness: Readiness,
}

impl<S, M> DeadlineService<S, M> {
    pub(crate) fn new(inner: S, settings: Arc<Settings>, mode: M) -> Self {
        let readiness = Readiness::at_rest(&settings);
        Self { inner, settings, mode, readiness }
    }

    /// Returns a handle to the live numbers of this service, its clones, and the services that share
    /// its counters.
    pub fn handle(&self) -> DeadlineHandle {
        DeadlineHandle::new(&self.settings)
    }
}

impl<S: Clone, M: Clone> Clone for DeadlineService<S, M> {
    /// The clone has waited for nothing yet.
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
        self.settings.note_call();
        let seed = self.mode.seed(&request);
        // Before the clock is read: what came with no time left must not seem to have some.
        let announced = self.mode.deadline(&request);
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
            // One reading serves all: without a deadline there is none.
            deadline.instant() <= *now.get_or_insert_with(Instant::now)
        };
        match deadline {
            Some(late) if passed(late) || self.mode.set_deadline(&mut request, late).is_err() => {
                if self.settings.reject_late() == LateCall::Rejected {
                    return self.reject(seed, late);
                }
                deadline = own.filter(|own| !passed(*own));
                // If nothing is left to announce, it goes out without.
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
        let call = TimedCall::new(deadline, &self.settings);
        ResponseFuture::timed(future, call, seed, self.mode.clone())
    }
}

impl<S: Clone, M> DeadlineService<S, M> {
    /// Makes a call whose deadline is not what is ambient inside.
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
                // It was observed to pass, and has been counted.
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
            // If nothing is left to announce, it goes out without.
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
        Box::pin(ScopedFuture::new(future, scoped))
    }

    /// Announces `deadline` to the service, or what is `inherited` if that ends at the head, unless it is
    /// only observed.
    fn announce<Req>(
        &self,
        request: &mut Req,
        deadline: Option<Deadline>,
        inherited: Option<Deadline>,
    ) -> Result<(), NoTimeLeft>
    where
        M: Propagate<Req>,
    {
        let told = if self.settings.extent == Extent::Head { inherited } else { deadline };
        match (told, self.settings.enforcement) {
            (Some(told), Enforcement::Enforce) => self.mode.set_deadline(request, told),
            (Some(told), Enforcement::Observe) => self.mode.can_set_deadline(request, told),
            (None, _) => Ok(()),
        }
    }
}

impl<S: Clone, M> DeadlineService<S, M> {
    /// Answers instead of the inner service, and gives back what that had reserved for the call.
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
        let call = TimedCall::new(Some(deadline), &self.settings);
        ResponseFuture::rejected(call, seed, self.mode.clone())
    }
}
