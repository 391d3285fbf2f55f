use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{Extent, Propagate, Respond};
use buttress_state::ColdBox;
use pin_project::pin_project;
use tower_service::Service;

use crate::{
    OrderGuard,
    lane::Turn,
    settings::{End, Settings},
};

mod waiting;

use self::waiting::Unstarted;
pub(crate) use self::waiting::{NotStarted, Waiting};

/// The future of [`Order`](crate::Order).
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct ResponseFuture<S, Req, M>
where
    S: Service<Req>,
    M: Respond<Req, S::Response, S::Error>,
{
    /// `None` if the call has not begun, or has ended.
    // Declared before `turn`: if the caller leaves, the inner call is dropped before the next call
    // begins.
    #[pin]
    future: Option<S::Future>,
    /// `None` too if the request has no key.
    turn: Option<Turn>,
    // Boxed, so that the future of a call that begins at once stays small.
    not_started: ColdBox<NotStarted<S, Req>>,
    /// `None` once the call has ended.
    seed: Option<M::Seed>,
    mode: M,
    settings: Arc<Settings>,
}

impl<S, Req, M> ResponseFuture<S, Req, M>
where
    S: Service<Req>,
    M: Respond<Req, S::Response, S::Error>,
{
    #[inline]
    pub(crate) fn running(
        future: S::Future,
        turn: Option<Turn>,
        seed: M::Seed,
        mode: M,
        settings: Arc<Settings>,
    ) -> Self {
        let (future, seed) = (Some(future), Some(seed));
        Self { future, turn, not_started: ColdBox::NOTHING, seed, mode, settings }
    }

    #[cold]
    pub(crate) fn not_started(
        not_started: NotStarted<S, Req>,
        seed: M::Seed,
        mode: M,
        settings: Arc<Settings>,
    ) -> Self {
        let (not_started, seed) = (ColdBox::new(not_started), Some(seed));
        Self { future: None, turn: None, not_started, seed, mode, settings }
    }

    /// Answers in place of the service.
    #[cold]
    fn reject(self: Pin<&mut Self>, end: End) -> CallOutcome<S, Req, M> {
        let this = self.project();
        let Some(seed) = this.seed.take() else { unreachable!("it has ended before") };
        this.mode.reject(seed, this.settings.rejection(end))
    }

    /// Ends a call that a later call superseded.
    #[cold]
    fn supersede(mut self: Pin<&mut Self>) -> CallOutcome<S, Req, M> {
        let mut this = self.as_mut().project();
        this.settings.note(End::Superseded);
        // The work first: the next call begins when the turn is dropped.
        this.future.set(None);
        *this.turn = None;
        self.reject(End::Superseded)
    }

    /// Passes the outcome on, with the turn if the response outlives its head.
    #[inline]
    fn end(
        mut self: Pin<&mut Self>,
        outcome: Result<S::Response, S::Error>,
    ) -> CallOutcome<S, Req, M> {
        let mut this = self.as_mut().project();
        // Again, because a later call may have come during the poll.
        if this.turn.as_ref().is_some_and(Turn::is_superseded) {
            drop(outcome);
            return self.supersede();
        }
        // Must run before the turn is dropped: the inner call may hold resources that the next call
        // needs.
        this.future.set(None);
        let turn = this.turn.take();
        let Some(seed) = this.seed.take() else { unreachable!("it has ended before") };
        let response = outcome?;
        let held = if M::KEEPS_GUARD && this.settings.extent == Extent::UntilEnd {
            turn.map(|turn| OrderGuard::new(turn, Arc::clone(this.settings)))
        } else {
            drop(turn);
            None
        };
        Ok(this.mode.admit(seed, response, held))
    }
}

impl<S, Req, M> Future for ResponseFuture<S, Req, M>
where
    S: Service<Req>,
    M: Respond<Req, S::Response, S::Error> + Propagate<Req>,
{
    type Output = CallOutcome<S, Req, M>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.as_mut().project();
        let Some(future) = this.future.as_pin_mut() else { return self.poll_not_started(cx) };
        // Before the work is polled: a superseded call does no further work.
        if this.turn.as_ref().is_some_and(Turn::is_superseded) {
            return Poll::Ready(self.supersede());
        }
        match future.poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(self.end(outcome)),
            Poll::Pending => match this.turn {
                Some(turn) => {
                    ready!(turn.poll_superseded(cx));
                    Poll::Ready(self.supersede())
                }
                None => Poll::Pending,
            },
        }
    }
}

impl<S, Req, M> ResponseFuture<S, Req, M>
where
    S: Service<Req>,
    M: Respond<Req, S::Response, S::Error> + Propagate<Req>,
{
    /// Begins a call whose turn has come, or ends a call that will not begin.
    #[cold]
    fn poll_not_started(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<CallOutcome<S, Req, M>> {
        let mut this = self.as_mut().project();
        let begun = match this.not_started.get() {
            Some(NotStarted::Waiting(waiting)) => {
                ready!(waiting.poll_begin(cx, this.mode, &this.settings.state.timers))
            }
            Some(NotStarted::Refused(end)) => {
                let end = *end;
                return Poll::Ready(self.reject(end));
            }
            None => unreachable!("polled after it had ended"),
        };
        // The end of the wait is counted before user code runs: drops of the instance and of the
        // request.
        match &begun {
            Ok(_) => this.settings.waited(),
            Err(Unstarted::End(end)) => this.settings.note(*end),
            Err(Unstarted::Unready(_)) => {}
        }
        match (this.not_started.take(), begun) {
            (Some(NotStarted::Waiting(waiting)), Ok(turn)) => {
                *this.turn = Some(turn);
                this.future.set(Some(waiting.call()));
                self.poll(cx)
            }
            (_, Err(Unstarted::Unready(error))) => {
                *this.seed = None;
                Poll::Ready(Err(error))
            }
            (waiting, Err(Unstarted::End(end))) => {
                drop(waiting);
                Poll::Ready(self.reject(end))
            }
            (_, Ok(_)) => unreachable!("polled after it had ended"),
        }
    }
}

impl<S, Req, M> fmt::Debug for ResponseFuture<S, Req, M>
where
    S: Service<Req>,
    M: Respond<Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

type CallOutcome<S, Req, M> = Result<
    <M as Respond<Req, <S as Service<Req>>::Response, <S as Service<Req>>::Error>>::Response<
        OrderGuard,
    >,
    <S as Service<Req>>::Error,
>;
