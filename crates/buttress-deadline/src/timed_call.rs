use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{
    CallSettings, Deadline, Enforcement, Extent, Rejection, Respond, ThreadCopy, Timer,
};
use tokio::time::Instant;

use crate::settings::Settings;

/// A call, or the body of its response, under its deadline.
#[derive(Debug)]
pub(crate) struct TimedCall {
    deadline: Option<Deadline>,
    timer: Timer,
    settings: Arc<ThreadCopy<CallSettings<Settings>>>,
}

impl TimedCall {
    #[inline]
    pub(crate) fn new(
        deadline: Option<Deadline>,
        settings: &Arc<ThreadCopy<CallSettings<Settings>>>,
    ) -> Self {
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

    /// Ready when the call must be cut off. Poll only after the call or body was pending, so that a
    /// response at the very deadline wins.
    pub(crate) fn poll_cut(&mut self, cx: &mut Context<'_>, phase: &'static str) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        ready!(self.timer.poll(cx, deadline, &self.settings.state.timers));
        self.enforce(phase)
    }

    /// Ready when a frame of the body is too late. A frame at the very deadline is in time.
    #[inline]
    pub(crate) fn poll_stop(&mut self, phase: &'static str) -> Poll<()> {
        if self.is_late() { self.enforce(phase) } else { Poll::Pending }
    }

    /// Whether the head is so late that no frame of its body may be passed on.
    ///
    /// A call that has not been pending is not late, and costs no clock read. If an inner layer
    /// rejected the call, its rejection stands.
    #[inline]
    pub(crate) fn is_too_late<Req, M, Res, E>(&mut self, mode: &M, response: &Res) -> bool
    where
        M: Respond<Req, Res, E>,
    {
        // `enforce` counts the exceeded deadline, so all other tests come first.
        M::KEEPS_GUARD
            && self.timer.is_set()
            && self.settings.extent == Extent::UntilEnd
            && self.is_late()
            && !mode.is_rejection(response)
            && self.enforce("call").is_ready()
    }

    /// Whether the deadline has passed. At the very deadline the call is in time.
    #[inline]
    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() > deadline.instant())
    }

    /// Counts the exceeded deadline. Ready unless the deadline is only observed.
    #[cold]
    fn enforce(&mut self, phase: &'static str) -> Poll<()> {
        match self.settings.exceeded(phase) {
            Enforcement::Enforce => Poll::Ready(()),
            Enforcement::Observe => {
                // The timer stays ready. Without this, each further poll would count the same
                // deadline again.
                self.forget_deadline();
                Poll::Pending
            }
        }
    }

    /// Lets the call run on without a deadline. The timer leaves its queue.
    pub(crate) fn forget_deadline(&mut self) {
        self.deadline = None;
        self.timer.disarm();
    }

    /// Whether `error` is the timeout of an inner timer that knew the `announced` deadline and
    /// fired first.
    ///
    /// Such a timeout counts as this layer's, so that a deadline has a single outcome.
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
        // `exceeded` counts the deadline, so `mode` must agree first.
        announced.is_some_and(|deadline| mode.timed_out(error, deadline.remaining()))
            && self.settings.exceeded("call") == Enforcement::Enforce
    }
}
