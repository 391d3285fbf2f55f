use std::task::{Context, Poll};

use buttress_core::{Ambient, Deadline, NoTimeLeft, Propagate, Timer, Timers};
use tower_service::Service;

use crate::{
    lane::{Place, Turn, Wait},
    settings::End,
};

/// A call that does not run at once.
pub(crate) enum NotStarted<S, Req> {
    Waiting(Waiting<S, Req>),
    Refused(End),
}

/// A call that waits for its turn, then for the readiness of its instance.
pub(crate) struct Waiting<S, Req> {
    /// An instance that has reserved nothing.
    pub(crate) inner: S,
    pub(crate) request: Req,
    /// The ambient values of the `call`.
    pub(crate) ambient: Ambient,
    /// The end of the wait.
    pub(crate) limit: Option<Deadline>,
    /// The deadline that the request announced when the wait began.
    pub(crate) announced: Option<Deadline>,
    pub(crate) timer: Timer,
    // Last: the next call begins when the reservation of the instance is given back.
    pub(crate) place: Place,
}

/// The end of a wait without a turn.
pub(crate) enum Unstarted<E> {
    End(End),
    /// The instance failed to become ready.
    Unready(E),
}

impl<S, Req> Waiting<S, Req> {
    /// Ready with the turn once the call can begin: the call has the turn, and its instance is
    /// ready.
    pub(crate) fn poll_begin<M>(
        &mut self,
        cx: &mut Context<'_>,
        mode: &M,
        timers: &Timers,
    ) -> Poll<Result<Turn, Unstarted<S::Error>>>
    where
        S: Service<Req>,
        M: Propagate<Req>,
    {
        let ready = match self.place.poll(cx) {
            Poll::Ready(Wait::Superseded) => {
                return Poll::Ready(Err(Unstarted::End(End::Superseded)));
            }
            Poll::Ready(Wait::Granted) => self.within(|waiting| waiting.inner.poll_ready(cx)),
            Poll::Pending => Poll::Pending,
        };
        // After the turn and the readiness: a turn at the instant of the deadline is used.
        match (ready, self.limit) {
            (Poll::Ready(Ok(())), _) => Poll::Ready(self.begin(mode)),
            (Poll::Ready(Err(error)), _) => Poll::Ready(Err(Unstarted::Unready(error))),
            (Poll::Pending, Some(limit)) => self
                .timer
                .poll(cx, limit, timers)
                .map(|()| Err(Unstarted::End(End::Expired(limit)))),
            (Poll::Pending, None) => Poll::Pending,
        }
    }

    /// Reduces the deadline that the request announces by the time of the wait, and takes the turn.
    fn begin<M, E>(&mut self, mode: &M) -> Result<Turn, Unstarted<E>>
    where
        M: Propagate<Req>,
    {
        if let Some(announced) = self.announced {
            let deadline = self.limit.unwrap_or(announced);
            let expired = |NoTimeLeft| Unstarted::End(End::Expired(deadline));
            mode.set_deadline(&mut self.request, announced).map_err(expired)?;
        }
        self.place.begin().ok_or(Unstarted::End(End::Superseded))
    }

    /// Calls the instance, which is ready.
    pub(crate) fn call(self) -> S::Future
    where
        S: Service<Req>,
    {
        let Self { mut inner, request, ambient, .. } = self;
        within(ambient, || inner.call(request))
    }

    fn within<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        within(self.ambient, || f(self))
    }
}

/// Runs `f` under the ambient values of the `call`. A deadline until the head is that of the poll.
fn within<R>(ambient: Ambient, f: impl FnOnce() -> R) -> R {
    Deadline::with(ambient.deadline, || ambient.criticality.with(f))
}
