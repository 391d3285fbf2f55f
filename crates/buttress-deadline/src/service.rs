use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{Carry, Deadline, Expired, Plain, Respond, Timer};
use tokio::time::Instant;
use tower_service::Service;

use crate::{
    ResponseFuture,
    limit::Limit,
    settings::{Enforcement, Extent, Settings},
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
    pub(crate) const fn new(inner: S, settings: Arc<Settings>, mode: M) -> Self {
        Self { inner, settings, mode, readiness: Readiness::Idle }
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
    M: Respond<Req, S::Response, S::Error> + Carry<Req>,
{
    type Response = M::Response<crate::DeadlineGuard>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, Req, M, M::Seed>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if !matches!(self.readiness, Readiness::Idle) {
            return self.poll_ready_again(cx);
        }
        match self.inner.poll_ready(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.poll_expiry(cx).map(Ok),
        }
    }

    #[inline]
    fn call(&mut self, mut request: Req) -> Self::Future {
        let seed = self.mode.seed(&request);
        // Before the clock is read: what came with no time left must not seem to have some.
        let announced = self.mode.read(&request);
        let (own, mut now) = match &self.readiness {
            Readiness::Idle => self.settings.own(),
            _ => match mem::replace(&mut self.readiness, Readiness::Idle) {
                Readiness::Ready(deadline) => (deadline, None),
                Readiness::Expired(deadline) => return self.reject(seed, deadline),
                Readiness::ReadyLate => {
                    // It was observed to pass, and has been counted.
                    let limit = self.settings.apart(None, None);
                    return self.call_apart(request, seed, limit);
                }
                Readiness::Idle | Readiness::Waiting { .. } | Readiness::Late => {
                    self.settings.own()
                }
            },
        };
        let ambient = Deadline::whole();
        let mut inherited = Deadline::earliest(ambient, announced);
        let mut deadline = Deadline::earliest(own, inherited);
        let mut passed = |deadline: Deadline| {
            // One reading serves all: without a deadline there is none.
            deadline.instant() <= *now.get_or_insert_with(Instant::now)
        };
        match deadline {
            Some(late) if passed(late) || self.announce(&mut request, late, inherited).is_err() => {
                if self.settings.expired() == Enforcement::Reject {
                    return self.reject(seed, late);
                }
                deadline = own.filter(|own| !passed(*own));
                inherited = None;
                // If nothing is left to announce, it goes out without.
                let _ = deadline.map(|own| self.announce(&mut request, own, None));
            }
            _ => self.settings.in_time(),
        }
        if let (Some(came), Some(ambient)) = (announced, ambient)
            && came < ambient
            && deadline == announced
            && self.settings.is_ambient()
        {
            came.announces(ambient);
        }
        if !self.settings.is_ambient() {
            let limit = self.settings.apart(own.and(deadline), inherited);
            return self.call_apart(request, seed, limit);
        }
        let future = Deadline::with(deadline, || self.inner.call(request));
        let limit = Limit::of(deadline);
        ResponseFuture::running(future, limit, seed, self.mode.clone(), &self.settings)
    }
}

impl<S, M> DeadlineService<S, M> {
    /// Makes a call whose deadline is not what is ambient inside.
    #[cold]
    #[inline(never)]
    fn call_apart<Req>(
        &mut self,
        request: Req,
        seed: M::Seed,
        limit: Limit,
    ) -> ResponseFuture<S::Future, Req, M, M::Seed>
    where
        S: Service<Req>,
        M: Respond<Req, S::Response, S::Error>,
    {
        let future = limit.within(|| self.inner.call(request));
        ResponseFuture::running(future, limit, seed, self.mode.clone(), &self.settings)
    }

    /// Announces `deadline` to the service, or what is `inherited` if that ends at the head, unless it is
    /// only observed.
    #[inline]
    fn announce<Req>(
        &self,
        request: &mut Req,
        deadline: Deadline,
        inherited: Option<Deadline>,
    ) -> Result<(), Expired>
    where
        M: Carry<Req>,
    {
        if self.settings.is_ambient() {
            return self.mode.write(request, deadline);
        }
        let told = if self.settings.extent == Extent::Head { inherited } else { Some(deadline) };
        match (told, self.settings.enforcement) {
            (Some(told), Enforcement::Reject) => self.mode.write(request, told),
            (Some(told), Enforcement::Observe) => self.mode.can_announce(request, told),
            (None, _) => Ok(()),
        }
    }
}

impl<S: Clone, M> DeadlineService<S, M> {
    /// `poll_ready` of a handle that has waited.
    #[cold]
    fn poll_ready_again<Req>(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>>
    where
        S: Service<Req>,
    {
        let polled = match self.readiness {
            Readiness::Expired(_) => return Poll::Ready(Ok(())),
            Readiness::Waiting { deadline, .. } => {
                let limit = if self.settings.is_ambient() {
                    Limit::of(deadline)
                } else {
                    self.settings.apart(deadline, Deadline::whole())
                };
                limit.within(|| self.inner.poll_ready(cx))
            }
            Readiness::Late => self.inner.poll_ready(cx),
            Readiness::Ready(_) | Readiness::ReadyLate | Readiness::Idle => {
                // A wait that ended before belongs to a call that was never made.
                self.readiness = Readiness::Idle;
                self.inner.poll_ready(cx)
            }
        };
        match polled {
            Poll::Ready(result) => {
                match self.readiness {
                    Readiness::Waiting { deadline, .. } => {
                        self.readiness = Readiness::Ready(deadline);
                    }
                    Readiness::Late => self.readiness = Readiness::ReadyLate,
                    _ => {}
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_expiry(cx).map(Ok),
        }
    }

    /// Waits for the deadline, which counts from the first time the inner service was not ready.
    #[cold]
    fn poll_expiry(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self.readiness, Readiness::Idle) {
            let deadline = Deadline::earliest(self.settings.own().0, Deadline::whole());
            self.readiness = Readiness::Waiting { deadline, timer: Timer::new() };
        }
        let Readiness::Waiting { deadline: Some(deadline), timer } = &mut self.readiness else {
            return Poll::Pending;
        };
        let deadline = *deadline;
        if timer.poll(cx, deadline, &self.settings.state.timers).is_pending() {
            return Poll::Pending;
        }
        if self.settings.exceeded("readiness") == Enforcement::Observe {
            self.readiness = Readiness::Late;
            return Poll::Pending;
        }
        // The instance that waited keeps its place in the inner queue: only dropping it gives the
        // place to somebody else.
        self.inner = self.inner.clone();
        self.readiness = Readiness::Expired(deadline);
        Poll::Ready(())
    }

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
        self.inner = self.inner.clone();
        ResponseFuture::rejected(deadline, seed, self.mode.clone(), &self.settings)
    }
}

#[derive(Debug)]
enum Readiness {
    /// Nothing was waited for.
    Idle,
    /// The inner service has been pending under `deadline`.
    Waiting { deadline: Option<Deadline>, timer: Timer },
    /// The inner service became ready after a wait under this deadline.
    Ready(Option<Deadline>),
    /// It did not, and the next call is rejected.
    Expired(Deadline),
    /// It did not either, and the deadline was only observed. The inner service is still pending.
    Late,
    /// It became ready after that. The call has been counted.
    ReadyLate,
}
