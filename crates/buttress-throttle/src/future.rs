use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{Criticality, Deadline, Guard, Judge, Quota, Respond};
use pin_project::pin_project;
use tower_service::Service;

use crate::{
    guard::ThrottleGuard,
    limit::{Hold, Limit, Wait},
    refusal::Refusal,
    settings::{Extent, Settings},
};

/// The future of [`Throttle`](crate::Throttle).
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct ResponseFuture<S, Req, L, M, J>
where
    S: Service<Req>,
    L: Limit<Req>,
    M: Respond<Req, S::Response, S::Error>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    #[pin]
    state: State<S, S::Future, Req, L::Permit, L::Wait>,
    /// `None` once it has ended.
    seeds: Option<(M::Seed, J::Seed)>,
    mode: M,
    judge: J,
    criticality: Criticality,
    extent: Extent,
}

impl<S, Req, L, M, J> ResponseFuture<S, Req, L, M, J>
where
    S: Service<Req>,
    L: Limit<Req>,
    M: Respond<Req, S::Response, S::Error>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    #[inline]
    pub(crate) const fn new(
        state: State<S, S::Future, Req, L::Permit, L::Wait>,
        seeds: (M::Seed, J::Seed),
        mode: M,
        judge: J,
        criticality: Criticality,
        extent: Extent,
    ) -> Self {
        Self { state, seeds: Some(seeds), mode, judge, criticality, extent }
    }
}

impl<S, Req, L, M, J> Future for ResponseFuture<S, Req, L, M, J>
where
    S: Service<Req>,
    L: Limit<Req>,
    M: Respond<Req, S::Response, S::Error>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    type Output = Result<M::Response<ThrottleGuard<L::Permit>>, S::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut this = self.as_mut().project();
            match this.state.as_mut().project() {
                Polled::Running { future, .. } => {
                    let outcome = ready!(this.criticality.with(|| future.poll(cx)));
                    return Poll::Ready(self.end(outcome));
                }
                Polled::Waiting { wait, deadline, .. } => {
                    let admitted = ready!(Deadline::with(*deadline, || wait.poll_admit(cx)));
                    let criticality = *this.criticality;
                    let next = match this.state.as_mut().project_replace(State::Done) {
                        Taken::Waiting { inner, request, settings, deadline, .. } => match admitted
                        {
                            Ok(permit) => run(inner, request, permit, deadline, criticality),
                            Err(refusal) => {
                                settings.refuse(&refusal, criticality);
                                State::Refused { refusal, settings }
                            }
                        },
                        _ => State::Done,
                    };
                    this.state.set(next);
                }
                Polled::Refused { .. } => return Poll::Ready(self.reject()),
                Polled::Done => unreachable!("polled after it had ended"),
            }
        }
    }
}

impl<S, Req, L, M, J> ResponseFuture<S, Req, L, M, J>
where
    S: Service<Req>,
    L: Limit<Req>,
    M: Respond<Req, S::Response, S::Error>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    /// Hands the outcome on.
    #[inline]
    fn end(
        self: Pin<&mut Self>,
        outcome: Result<S::Response, S::Error>,
    ) -> Result<M::Response<ThrottleGuard<L::Permit>>, S::Error> {
        let this = self.project();
        let Some((seed, judged)) = this.seeds.take() else { unreachable!("it has ended before") };
        // The call is dropped here, before its permit is free.
        let mut permit = match this.state.project_replace(State::Done) {
            Taken::Running { permit, .. } => permit,
            _ => None,
        };
        if let Some(permit) = &mut permit {
            permit.settle(this.judge.judge(this.mode, &judged, outcome.as_ref()));
        }
        let response = outcome?;
        let guard = M::KEEPS_GUARD.then(|| {
            let outlives = L::Permit::OUTLIVES_HEAD && *this.extent == Extent::Body;
            let held = if outlives { permit.take() } else { None };
            ThrottleGuard::new(held, *this.criticality)
        });
        let mut response = this.mode.admit(seed, response, guard);
        if let Some(permit) = &permit {
            announce(this.mode, &mut response, permit.quotas());
        }
        Ok(response)
    }

    /// Answers in the service's stead.
    #[cold]
    fn reject(self: Pin<&mut Self>) -> Result<M::Response<ThrottleGuard<L::Permit>>, S::Error> {
        let this = self.project();
        match (this.state.project_replace(State::Done), this.seeds.take()) {
            (Taken::Refused { refusal, settings }, Some((seed, _))) => {
                let mut response = this.mode.reject(seed, settings.rejection(&refusal))?;
                let quotas = refusal.quotas.as_deref().unwrap_or_default();
                announce(this.mode, &mut response, quotas);
                Ok(response)
            }
            _ => unreachable!("polled after it had ended"),
        }
    }
}

impl<S, Req, L, M, J> fmt::Debug for ResponseFuture<S, Req, L, M, J>
where
    S: Service<Req>,
    L: Limit<Req>,
    M: Respond<Req, S::Response, S::Error>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// A call of a limited service, from its admission on.
#[pin_project(project = Polled, project_replace = Taken)]
pub(crate) enum State<S, F, Req, P, W> {
    Running {
        #[pin]
        future: F,
        /// `None` for a call that the limit does not count.
        permit: Option<P>,
    },
    /// In a queue, with the instance that was ready.
    Waiting {
        wait: W,
        inner: S,
        request: Req,
        settings: Arc<Settings>,
        deadline: Option<Deadline>,
    },
    Refused {
        refusal: Refusal,
        settings: Arc<Settings>,
    },
    Done,
}

/// Begins a call that has waited, under the deadline it came with.
fn run<S, Req, P, W>(
    mut inner: S,
    request: Req,
    permit: P,
    deadline: Option<Deadline>,
    criticality: Criticality,
) -> State<S, S::Future, Req, P, W>
where
    S: Service<Req>,
{
    let future = Deadline::with(deadline, || criticality.with(|| inner.call(request)));
    State::Running { future, permit: Some(permit) }
}

#[inline]
fn announce<Req, Res, E, M, G>(mode: &M, response: &mut M::Response<G>, quotas: &[Quota])
where
    M: Respond<Req, Res, E>,
    G: Guard,
{
    if !quotas.is_empty() {
        mode.announce(response, quotas);
    }
}
