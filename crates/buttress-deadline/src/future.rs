use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{Deadline, Rejection, Respond, Timer};
use pin_project::pin_project;
use tokio::time::Instant;

use crate::{
    DeadlineGuard,
    limit::Limit,
    settings::{Enforcement, Extent, Settings},
};

/// The future of [`DeadlineService`](crate::DeadlineService).
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct ResponseFuture<F, Req, M, Seed> {
    /// `None` for a call that was rejected before it began, or cut off.
    #[pin]
    future: Option<F>,
    /// `None` once the response has it.
    call: Option<Call>,
    /// `None` once it has ended.
    seed: Option<Seed>,
    mode: M,
    request: PhantomData<fn(Req)>,
}

impl<F, Req, M, Seed> ResponseFuture<F, Req, M, Seed> {
    #[inline]
    pub(crate) fn running(
        future: F,
        limit: Limit,
        seed: Seed,
        mode: M,
        settings: &Arc<Settings>,
    ) -> Self {
        Self::new(Some(future), limit, seed, mode, settings)
    }

    pub(crate) fn rejected(
        deadline: Deadline,
        seed: Seed,
        mode: M,
        settings: &Arc<Settings>,
    ) -> Self {
        Self::new(None, Limit::At(deadline), seed, mode, settings)
    }

    #[inline]
    fn new(future: Option<F>, limit: Limit, seed: Seed, mode: M, settings: &Arc<Settings>) -> Self {
        let call = Call { limit, timer: Timer::new(), settings: Arc::clone(settings) };
        Self { future, call: Some(call), seed: Some(seed), mode, request: PhantomData }
    }
}

impl<F, Req, M, Res, E> Future for ResponseFuture<F, Req, M, <M as Respond<Req, Res, E>>::Seed>
where
    F: Future<Output = Result<Res, E>>,
    M: Respond<Req, Res, E>,
{
    type Output = Result<M::Response<DeadlineGuard>, E>;

    #[expect(
        clippy::inline_always,
        reason = "a call that is ready is a third cheaper in its caller"
    )]
    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(call) = this.call.as_mut() else { unreachable!("polled after it had ended") };
        let polled = match this.future.as_mut().as_pin_mut() {
            Some(future) => call.within(|| future.poll(cx)),
            None => return Poll::Ready(Self::reject(this.mode, call, this.seed)),
        };
        match polled {
            Poll::Ready(Ok(response)) if M::KEEPS_GUARD => {
                Poll::Ready(Self::admit(this.mode, this.call, this.seed, response))
            }
            Poll::Ready(Ok(response)) => {
                let Some(seed) = this.seed.take() else { unreachable!("it has a seed until here") };
                Poll::Ready(Ok(this.mode.admit(seed, response, None)))
            }
            Poll::Ready(Err(error)) if call.timed_out(this.mode, &error) => {
                Poll::Ready(Self::reject(this.mode, call, this.seed))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                ready!(call.poll_cut(cx, "call"));
                // The call is dropped here, before anybody hears of its end, and under its own deadline: a
                // layer inside can tell that from a caller that leaves.
                call.within(|| this.future.set(None));
                Poll::Ready(Self::reject(this.mode, call, this.seed))
            }
        }
    }
}

impl<F, Req, M, Res, E> ResponseFuture<F, Req, M, <M as Respond<Req, Res, E>>::Seed>
where
    F: Future<Output = Result<Res, E>>,
    M: Respond<Req, Res, E>,
{
    /// Hands the response on, with a guard for its body.
    #[inline]
    fn admit(
        mode: &M,
        call: &mut Option<Call>,
        seed: &mut Option<M::Seed>,
        response: Res,
    ) -> Result<M::Response<DeadlineGuard>, E> {
        let Some(running) = call else { unreachable!("polled after it had ended") };
        // A layer further in that rejected the call has given its verdict, and counted it.
        if running.is_head_late()
            && !mode.is_rejection(&response)
            && running.enforce("call").is_ready()
        {
            drop(response);
            return Self::reject(mode, running, seed);
        }
        let Some(seed) = seed.take() else { unreachable!("it has a seed until here") };
        // The future is kept until it is dropped whole; the guard outlives it.
        let guard = call.take().and_then(Call::body).map(DeadlineGuard::new);
        Ok(mode.admit(seed, response, guard))
    }

    #[cold]
    fn reject(
        mode: &M,
        call: &Call,
        seed: &mut Option<M::Seed>,
    ) -> Result<M::Response<DeadlineGuard>, E> {
        let Some(seed) = seed.take() else { unreachable!("polled after it had ended") };
        mode.reject(seed, call.rejection())
    }
}

impl<F, Req, M, Seed> fmt::Debug for ResponseFuture<F, Req, M, Seed> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// A call, or the body of its response, under its deadline.
#[derive(Debug)]
pub(crate) struct Call {
    limit: Limit,
    timer: Timer,
    settings: Arc<Settings>,
}

impl Call {
    /// Runs `f` with what is ambient inside. A deadline that is only observed is not.
    #[inline]
    pub(crate) fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        self.limit.within(f)
    }

    #[cold]
    pub(crate) fn rejection(&self) -> Rejection {
        self.settings.rejection(self.limit.deadline())
    }

    /// Ready when the call must be cut off. Poll it only when there is nothing to hand on.
    pub(crate) fn poll_cut(&mut self, cx: &mut Context<'_>, phase: &'static str) -> Poll<()> {
        let Some(deadline) = self.limit.deadline() else { return Poll::Pending };
        ready!(self.timer.poll(cx, deadline, &self.settings.state.timers));
        self.enforce(phase)
    }

    /// Ready when a frame of the body comes too late. At the very deadline it does not.
    #[inline]
    pub(crate) fn poll_stop(&mut self, phase: &'static str) -> Poll<()> {
        if self.is_late() { self.enforce(phase) } else { Poll::Pending }
    }

    /// Whether the head comes so late that no frame of its body could be handed on. A call that has not
    /// been pending is not late, and costs no look at the clock.
    #[inline]
    fn is_head_late(&self) -> bool {
        self.timer.is_set() && self.settings.extent == Extent::Body && self.is_late()
    }

    /// Whether the deadline has passed. At the very deadline it has not.
    #[inline]
    fn is_late(&self) -> bool {
        let deadline = self.limit.deadline();
        deadline.is_some_and(|deadline| Instant::now() > deadline.instant())
    }

    #[cold]
    fn enforce(&mut self, phase: &'static str) -> Poll<()> {
        let enforcement = self.settings.exceeded(phase);
        if enforcement == Enforcement::Observe
            && let Limit::Apart(apart) = &mut self.limit
        {
            apart.deadline = None;
            self.timer = Timer::new();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// What is left of the call for the body of its response.
    #[inline]
    fn body(mut self) -> Option<Self> {
        match &mut self.limit {
            Limit::Never => return None,
            Limit::At(_) => {}
            Limit::Apart(apart) => {
                **apart = apart.beyond_head(self.settings.extent)?;
                if apart.deadline.is_none() {
                    self.timer = Timer::new();
                }
            }
        }
        Some(self)
    }

    /// Whether a timer further in was told of this deadline and fired first: one verdict.
    #[cold]
    fn timed_out<Req, M, Res, E>(&self, mode: &M, error: &E) -> bool
    where
        M: Respond<Req, Res, E>,
    {
        let told = |deadline: Deadline| mode.timed_out(error, deadline.remaining());
        self.limit.announced().is_some_and(told)
            && self.settings.exceeded("call") == Enforcement::Reject
    }
}
