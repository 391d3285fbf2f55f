use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::{Deadline, Judge, Propagate, Verdict};
use pin_project::pin_project;
use tower_service::Service;

use crate::settings::{AlternativePermit, Failure};

/// A call of the alternative service: the wait for readiness, and the call itself.
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct AlternativeCall<T, Req, M, J>
where
    T: Service<Req>,
    J: Judge<M, Req, T::Response, T::Error>,
{
    #[pin]
    stage: Stage<T, Req, T::Future>,
    /// The earlier of the ambient deadline and the deadline of the request.
    deadline: Option<Deadline>,
    mode: M,
    judge: J,
    seed: J::Seed,
    /// Dropped after `stage`, so that the place is free only once the call is gone.
    _permit: AlternativePermit,
}

impl<T, Req, M, J> AlternativeCall<T, Req, M, J>
where
    T: Service<Req>,
    M: Clone,
    J: Judge<M, Req, T::Response, T::Error>,
{
    pub(crate) fn new(
        service: T,
        request: Req,
        deadline: Option<Deadline>,
        (mode, judge): (&M, &J),
        permit: AlternativePermit,
    ) -> Self {
        let seed = judge.seed(mode, &request);
        let stage = Stage::Readying { service, request };
        Self { stage, deadline, mode: mode.clone(), judge: judge.clone(), seed, _permit: permit }
    }
}

impl<T, Req, M, J> Future for AlternativeCall<T, Req, M, J>
where
    T: Service<Req>,
    M: Propagate<Req>,
    J: Judge<M, Req, T::Response, T::Error>,
{
    /// The response and its verdict. An error is a failure, because the caller gets the first
    /// outcome instead.
    type Output = Result<(T::Response, Verdict), Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (mode, deadline) = (&*this.mode, *this.deadline);
        Deadline::with(deadline, || {
            let outcome = ready!(this.stage.poll(mode, deadline, cx))?;
            let verdict = this.judge.judge(mode, this.seed, outcome.as_ref());
            Poll::Ready(outcome.map_or(Err(Failure::Outcome(verdict)), |res| Ok((res, verdict))))
        })
    }
}

impl<T, Req, M, J> fmt::Debug for AlternativeCall<T, Req, M, J>
where
    T: Service<Req>,
    J: Judge<M, Req, T::Response, T::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlternativeCall").finish_non_exhaustive()
    }
}

#[pin_project(project = Polled, project_replace = Last)]
enum Stage<T, Req, F> {
    Readying {
        service: T,
        request: Req,
    },
    Calling {
        #[pin]
        future: F,
    },
    Ended,
}

impl<T: Service<Req>, Req> Stage<T, Req, T::Future> {
    /// Polls readiness and then the call, under the ambient `deadline`.
    #[expect(clippy::type_complexity, reason = "an outcome, or no call at all")]
    fn poll<M: Propagate<Req>>(
        mut self: Pin<&mut Self>,
        mode: &M,
        deadline: Option<Deadline>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Result<T::Response, T::Error>, Failure>> {
        loop {
            match self.as_mut().project() {
                Polled::Readying { service, .. } => {
                    if let Err(error) = ready!(service.poll_ready(cx)) {
                        return Poll::Ready(Ok(Err(error)));
                    }
                }
                Polled::Calling { future } => return future.poll(cx).map(Ok),
                Polled::Ended => unreachable!("polled after it had ended"),
            }
            if let Last::Readying { mut service, mut request } =
                self.as_mut().project_replace(Self::Ended)
            {
                if let Some(deadline) = deadline {
                    // After the wait for readiness, so that the request announces the time that is
                    // left now.
                    if mode.set_deadline(&mut request, deadline).is_err() {
                        return Poll::Ready(Err(Failure::NoTimeLeft));
                    }
                    deadline.announces();
                }
                // The instance that is ready is called.
                let future = service.call(request);
                self.set(Self::Calling { future });
            }
        }
    }
}
