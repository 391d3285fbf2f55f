use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{Deadline, Signals};
use tokio::time::timeout;
use tower_service::Service;

use super::{handle_use::HandleUse, wake_flag::WakeFlag};

/// Drives a call by hand: waits for readiness, calls, and polls the response only after a wake-up.
pub(crate) struct Caller<S: Service<Req>, Req> {
    handle_use: HandleUse,
    handle: S,
    clone: Option<S>,
    request: Option<Req>,
    response: Option<Pin<Box<S::Future>>>,
    deadline: Option<Deadline>,
    /// The signals of the last poll of the response.
    signals: Signals,
    wake_flag: Arc<WakeFlag>,
}

/// The end of a call.
pub(crate) enum CallEnd<Res, E> {
    /// `poll_ready` failed.
    Unready(E),
    /// The response future is ready.
    Ended(Result<Res, E>),
}

/// The future wakes itself over and over.
#[derive(Debug)]
pub(crate) struct Spinning;

type DriveResult<Res, E> = Result<Poll<CallEnd<Res, E>>, Spinning>;

impl<S: Service<Req> + Clone, Req> Caller<S, Req> {
    pub(crate) fn new(handle: S, handle_use: HandleUse) -> Self {
        Self {
            handle_use,
            handle,
            clone: None,
            request: None,
            response: None,
            deadline: None,
            signals: Signals::default(),
            wake_flag: WakeFlag::new(),
        }
    }

    /// A caller on a clone of the handle as it is now.
    pub(crate) fn fork(&mut self) -> Self {
        Self::new(self.service().clone(), self.handle_use)
    }

    /// Starts a call with `request`, and drops the former call.
    pub(crate) fn ask(&mut self, request: Req) {
        self.abandon();
        self.request = Some(request);
        self.wake_flag = WakeFlag::new();
    }

    /// Sets the deadline that is ambient for all later actions. `None` leaves the ambient deadline.
    pub(crate) fn under(&mut self, deadline: Option<Deadline>) {
        self.deadline = deadline;
    }

    /// Drops the call. A long-lived handle keeps its reservation.
    pub(crate) fn abandon(&mut self) {
        self.response = None;
        self.request = None;
        self.clone = None;
    }

    /// Whether the service was ready and has been called.
    pub(crate) fn called(&self) -> bool {
        self.request.is_none()
    }

    /// The signals of the last poll of the response.
    pub(crate) const fn signals(&self) -> Signals {
        self.signals
    }

    pub(crate) fn woken(&self) -> bool {
        self.wake_flag.woken()
    }

    /// Polls the service for readiness once.
    pub(crate) fn poll_ready(&mut self) -> Poll<Result<(), S::Error>> {
        let waker = self.wake_flag.take();
        within(self.deadline, || self.service().poll_ready(&mut Context::from_waker(&waker)))
    }

    /// Calls the service, which must be ready. A clone made for the call is dropped with it.
    pub(crate) fn call(&mut self) {
        if let Some(request) = self.request.take() {
            let response = within(self.deadline, || self.service().call(request));
            self.response = Some(Box::pin(response));
            self.clone = None;
            self.wake_flag.wake_up();
        }
    }

    /// Polls once, woken or not.
    pub(crate) fn poll(&mut self) -> Poll<CallEnd<S::Response, S::Error>> {
        if self.request.is_some() {
            match self.poll_ready() {
                Poll::Ready(Ok(())) => self.call(),
                Poll::Ready(Err(error)) => {
                    self.abandon();
                    return Poll::Ready(CallEnd::Unready(error));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        let waker = self.wake_flag.take();
        let Some(response) = &mut self.response else { return Poll::Pending };
        let mut cx = Context::from_waker(&waker);
        // Watched poll by poll: `drive` polls several times in a row, and a signal of a poll that was
        // pending is lost to a layer outside.
        let poll = || within(self.deadline, || response.as_mut().poll(&mut cx));
        let (polled, signals) = Signals::watch(poll);
        self.signals = signals;
        match polled {
            Poll::Ready(outcome) => {
                self.response = None;
                Poll::Ready(CallEnd::Ended(outcome))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Polls as long as the future is woken.
    pub(crate) fn drive(&mut self) -> DriveResult<S::Response, S::Error> {
        for _ in 0..PATIENCE {
            if !self.woken() {
                return Ok(Poll::Pending);
            }
            if let Poll::Ready(end) = self.poll() {
                return Ok(Poll::Ready(end));
            }
        }
        Err(Spinning)
    }

    /// Drives the call to its end. `None` if it is not woken within `limit`.
    pub(crate) async fn finish(
        &mut self,
        limit: Duration,
    ) -> Result<Option<CallEnd<S::Response, S::Error>>, Spinning> {
        let end = poll_fn(|cx| {
            self.wake_flag.forward(cx.waker());
            match self.drive() {
                Ok(Poll::Ready(end)) => Poll::Ready(Ok(end)),
                Ok(Poll::Pending) => Poll::Pending,
                Err(spinning) => Poll::Ready(Err(spinning)),
            }
        });
        timeout(limit, end).await.ok().transpose()
    }

    /// Replaces the waker: only the waker of the next poll counts from then on.
    pub(crate) fn change_waker(&mut self) {
        self.wake_flag = WakeFlag::new();
    }

    fn service(&mut self) -> &mut S {
        match self.handle_use {
            HandleUse::LongLived => &mut self.handle,
            HandleUse::PerCall => self.clone.get_or_insert_with(|| self.handle.clone()),
        }
    }
}

fn within<R>(deadline: Option<Deadline>, f: impl FnOnce() -> R) -> R {
    match deadline {
        Some(deadline) => Deadline::with(Some(deadline), f),
        None => f(),
    }
}

/// A future may wake itself at once this many times in a row. More is a loop.
const PATIENCE: usize = 32;
