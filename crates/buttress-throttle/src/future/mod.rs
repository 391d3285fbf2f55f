use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{
    Criticality, Deadline, Extent, Guard, Judge, Propagate, Quota, Reason, Respond, Verdict,
};
use buttress_state::ColdBox;
use pin_project::pin_project;
use tower_service::Service;

use crate::limit::{Limit, LimitPermit, Refusal, Settings, Wait};

mod guard;
mod waiting;

pub use self::guard::ThrottleGuard;
pub(crate) use self::waiting::{Waiting, WaitingSettings};

/// The future of [`Throttle`](crate::Throttle).
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct ResponseFuture<S, Req, M, L, J>
where
    S: Service<Req>,
    L: Limit<Req>,
    M: Respond<Req, S::Response, S::Error>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    // Declared before `permit`: if the caller leaves, the inner call is dropped before its permit
    // is free, as `end` does it.
    #[pin]
    state: CallState<S::Future, NotStarted<S, Req, L::Wait>>,
    /// `None` too if the limit does not count the call.
    permit: Option<L::Permit>,
    /// `None` once the call has ended.
    seeds: Option<(M::Seed, J::Seed)>,
    mode: M,
    judge: J,
    criticality: Criticality,
    extent: Extent,
}

#[pin_project(project = Polled)]
enum CallState<F, N> {
    Running(#[pin] F),
    // Boxed, so that the future of an admitted call stays small: it is moved when it is created.
    NotStarted(ColdBox<N>),
    Ended,
}

/// A call that does not run at once.
pub(crate) enum NotStarted<S, Req, W> {
    /// The call waits, with the instance that was ready.
    Waiting(Waiting<S, Req, W>),
    Refused(Refusal, Arc<Settings>),
}

impl<S, Req, M, L, J> ResponseFuture<S, Req, M, L, J>
where
    S: Service<Req>,
    L: Limit<Req>,
    M: Respond<Req, S::Response, S::Error>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    #[inline]
    pub(crate) fn running(
        future: S::Future,
        permit: Option<L::Permit>,
        seeds: (M::Seed, J::Seed),
        (mode, judge): (M, J),
        criticality: Criticality,
        extent: Extent,
    ) -> Self {
        let (state, seeds) = (CallState::Running(future), Some(seeds));
        Self { state, permit, seeds, mode, judge, criticality, extent }
    }

    #[cold]
    pub(crate) fn not_started(
        not_started: NotStarted<S, Req, L::Wait>,
        seeds: (M::Seed, J::Seed),
        (mode, judge): (M, J),
        criticality: Criticality,
        extent: Extent,
    ) -> Self {
        let (state, seeds) = (CallState::NotStarted(ColdBox::new(not_started)), Some(seeds));
        Self { state, permit: None, seeds, mode, judge, criticality, extent }
    }
}

impl<S, Req, M, L, J> Future for ResponseFuture<S, Req, M, L, J>
where
    S: Service<Req>,
    L: Limit<Req>,
    M: Respond<Req, S::Response, S::Error> + Propagate<Req>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    type Output = Result<M::Response<ThrottleGuard<L::Permit>>, S::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.as_mut().project();
        let Polled::Running(future) = this.state.project() else {
            return self.poll_not_started(cx);
        };
        let outcome = ready!(this.criticality.with(|| future.poll(cx)));
        Poll::Ready(self.end(outcome))
    }
}

impl<S, Req, M, L, J> ResponseFuture<S, Req, M, L, J>
where
    S: Service<Req>,
    L: Limit<Req>,
    M: Respond<Req, S::Response, S::Error> + Propagate<Req>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    /// Settles the permit, and passes the outcome on.
    #[inline]
    fn end(self: Pin<&mut Self>, outcome: Result<S::Response, S::Error>) -> CallOutcome<Self> {
        let mut this = self.project();
        let Some((seed, judged)) = this.seeds.take() else { unreachable!("it has ended before") };
        let mut permit = this.permit.take();
        if let Some(permit) = &mut permit {
            let outcome = outcome.as_ref();
            match this.judge.judge(this.mode, &judged, outcome) {
                Verdict::Permanent if this.judge.is_callers_own(this.mode, &judged, outcome) => {
                    permit.forget();
                }
                verdict => permit.settle(verdict),
            }
        }
        // Must run before the permit is dropped: the inner call may hold resources that the permit
        // stands for, and another call may take the permit at once.
        this.state.set(CallState::Ended);
        let response = outcome?;
        let guard = M::KEEPS_GUARD.then(|| {
            let outlives = L::Permit::OUTLIVES_HEAD && *this.extent == Extent::UntilEnd;
            let held = if outlives { permit.take() } else { None };
            ThrottleGuard::new(held, *this.criticality)
        });
        let mut response = this.mode.admit(seed, response, guard);
        if let Some(permit) = &permit {
            announce(this.mode, &mut response, permit.quotas());
        }
        Ok(response)
    }

    /// Starts a call whose wait is over, or ends a refused call.
    #[cold]
    fn poll_not_started(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CallOutcome<Self>> {
        let mut this = self.as_mut().project();
        let Polled::NotStarted(not_started) = this.state.as_mut().project() else {
            unreachable!("polled after it had ended")
        };
        let admitted = match not_started.get() {
            Some(NotStarted::Waiting(waiting)) => {
                let Waiting { wait, deadline, settings, .. } = waiting;
                let poll = || wait.poll_admit(cx, &settings.settings);
                let admitted = ready!(Deadline::with(*deadline, poll));
                settings.end_wait();
                admitted.and_then(|mut permit| match waiting.announce(this.mode) {
                    Ok(()) => Ok(Some(permit)),
                    Err(refusal) => {
                        // The service is not called, so the limit learns nothing.
                        let by = waiting.settings.settings.origin.layer();
                        permit.settle(Verdict::rejected(by, Reason::DeadlineExceeded, None));
                        Err(refusal)
                    }
                })
            }
            Some(NotStarted::Refused(..)) => Ok(None),
            None => unreachable!("polled after it had ended"),
        };
        let (refusal, settings) = match (not_started.take(), admitted) {
            (Some(NotStarted::Waiting(waiting)), Ok(permit)) => {
                let Waiting { mut inner, mut request, deadline, .. } = waiting;
                *this.permit = permit;
                if let Some(permit) = this.permit {
                    permit.watch(|| this.mode.watch_upload(&mut request));
                }
                let call = || this.criticality.with(|| inner.call(request));
                this.state.set(CallState::Running(Deadline::with(deadline, call)));
                return self.poll(cx);
            }
            (Some(NotStarted::Waiting(waiting)), Err(refusal)) => {
                let settings = Arc::clone(&waiting.settings.settings);
                (settings.refuse(refusal, *this.criticality), settings)
            }
            (Some(NotStarted::Refused(refusal, settings)), _) => (refusal, settings),
            (None, _) => unreachable!("polled after it had ended"),
        };
        let Some((seed, _)) = this.seeds.take() else { unreachable!("it has ended before") };
        let mut outcome = this.mode.reject(seed, settings.rejection(&refusal));
        if let Ok(response) = &mut outcome {
            announce(this.mode, response, refusal.quotas.as_deref().unwrap_or_default());
        }
        Poll::Ready(outcome)
    }
}

impl<S, Req, M, L, J> fmt::Debug for ResponseFuture<S, Req, M, L, J>
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

#[inline]
fn announce<Req, Res, E, M, G>(mode: &M, response: &mut M::Response<G>, quotas: &[Quota])
where
    M: Respond<Req, Res, E>,
    G: Guard,
{
    if !quotas.is_empty() {
        mode.advertise(response, quotas);
    }
}

type CallOutcome<F> = <F as Future>::Output;
