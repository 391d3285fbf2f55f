use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::{Judge, Respond, Signals};
use pin_project::pin_project;
use tower_service::Service;

use super::{guard::MeterGuard, measurement::Measurement};
use crate::{CallEnd, Record};

/// The future of [`Meter`](crate::Meter).
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct ResponseFuture<S, Req, M, R, J>
where
    S: Service<Req>,
    M: Respond<Req, S::Response, S::Error>,
    R: Record,
    J: Judge<M, Req, S::Response, S::Error>,
{
    // Declared before `measurement`: a dropped call has ended once its work is gone.
    #[pin]
    inner: S::Future,
    measurement: Measurement<R>,
    mode: M,
    judge: J,
    /// `None` once the call has ended.
    seed: Option<M::Seed>,
    judge_seed: J::Seed,
}

impl<S, Req, M, R, J> ResponseFuture<S, Req, M, R, J>
where
    S: Service<Req>,
    M: Respond<Req, S::Response, S::Error>,
    R: Record,
    J: Judge<M, Req, S::Response, S::Error>,
{
    #[inline]
    pub(crate) fn new(
        inner: S::Future,
        measurement: Measurement<R>,
        (seed, judge_seed): (M::Seed, J::Seed),
        (mode, judge): (M, J),
    ) -> Self {
        Self { inner, measurement, mode, judge, seed: Some(seed), judge_seed }
    }
}

impl<S, Req, M, R, J> Future for ResponseFuture<S, Req, M, R, J>
where
    S: Service<Req>,
    M: Respond<Req, S::Response, S::Error>,
    R: Record,
    J: Judge<M, Req, S::Response, S::Error>,
{
    type Output = Result<M::Response<MeterGuard<R>>, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (mode, judge, judge_seed) = (&*this.mode, &*this.judge, &*this.judge_seed);
        // The judge is asked among the signals of this call, and of no call before.
        let (polled, signals) = Signals::watch_raised(|| {
            let outcome = ready!(this.inner.poll(cx));
            let end = CallEnd::from(judge.judge(mode, judge_seed, outcome.as_ref()));
            Poll::Ready((outcome, end))
        });
        if let Some(signals) = signals {
            this.measurement.note_spent(signals.spent);
            signals.raise();
        }
        let (outcome, end) = ready!(polled);
        let Some(seed) = this.seed.take() else { unreachable!("polled after it had ended") };
        let response = match outcome {
            Ok(response) => response,
            Err(error) => {
                this.measurement.end(end);
                return Poll::Ready(Err(error));
            }
        };
        let guard = if M::KEEPS_GUARD && !this.measurement.ends_at_head() {
            Some(MeterGuard::new(this.measurement.take(), end))
        } else {
            this.measurement.end(end);
            None
        };
        Poll::Ready(Ok(mode.admit(seed, response, guard)))
    }
}

impl<S, Req, M, R, J> fmt::Debug for ResponseFuture<S, Req, M, R, J>
where
    S: Service<Req>,
    M: Respond<Req, S::Response, S::Error>,
    R: Record,
    J: Judge<M, Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
