use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{Deadline, Enforcement, Extent, Rejection, Respond, Timer};
use tokio::time::Instant;

use crate::settings::Settings;

/// A call, or the body of its response, under its deadline.
#[derive(Debug)]
pub(crate) struct TimedCall {
    deadline: Option<Deadline>,
    timer: Timer,
    settings: Arc<Settings>,
}

impl TimedCall {
    #[inline]
    pub(crate) fn new(deadline: Option<Deadline>, settings: &Arc<Settings>) -> Self {
        Self { deadline, timer: Timer::new(), settings: Arc::clone(settings) }
    }

    #[inline]
    pub(crate) const fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    pub(crate) fn extent(&self) -> Extent {
        self.settings.extent
    }

    #[cold]
    pub(crate) fn rejection(&self) -> Rejection {
        self.settings.rejection(self.deadline)
    }

    /// Ready when the call must be cut off. Poll it only when there is nothing to hand on.
    pub(crate) fn poll_cut(&mut self, cx: &mut Context<'_>, phase: &'static str) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        ready!(self.timer.poll(cx, deadline, &self.settings.state.timers));
        self.enforce(phase)
    }

    /// Ready when a frame of the body comes too late. At the very deadline it does not.
    #[inline]
    pub(crate) fn poll_stop(&mut self, phase: &'static str) -> Poll<()> {
        if self.is_late() { self.enforce(phase) } else { Poll::Pending }
    }

    /// Whether the head comes so late that no frame of its body may be handed on. A call that has not been
    /// pending is not late, and costs no clock read. If a layer further in rejected the call, its verdict
    /// stands.
    #[inline]
    pub(crate) fn is_too_late<Req, M, Res, E>(&mut self, mode: &M, response: &Res) -> bool
    where
        M: Respond<Req, Res, E>,
    {
        M::KEEPS_GUARD
            && self.timer.is_set()
            && self.settings.extent == Extent::Body
            && self.is_late()
            && !mode.is_rejection(response)
            && self.enforce("call").is_ready()
    }

    /// Whether the deadline has passed. At the very deadline it has not.
    #[inline]
    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() > deadline.instant())
    }

    /// Ready unless the deadline is only observed.
    #[cold]
    fn enforce(&mut self, phase: &'static str) -> Poll<()> {
        match self.settings.exceeded(phase) {
            Enforcement::Enforce => Poll::Ready(()),
            Enforcement::Observe => {
                self.forget_deadline();
                Poll::Pending
            }
        }
    }

    pub(crate) fn forget_deadline(&mut self) {
        self.deadline = None;
        self.timer.disarm();
    }

    /// Whether a timer further in was told of the `announced` deadline and fired first: one verdict.
    #[cold]
    pub(crate) fn timed_out<Req, M, Res, E>(
        &self,
        announced: Option<Deadline>,
        mode: &M,
        error: &E,
    ) -> bool
    where
        M: Respond<Req, Res, E>,
    {
        announced.is_some_and(|deadline| mode.timed_out(error, deadline.remaining()))
            && self.settings.exceeded("call") == Enforcement::Enforce
    }
}
