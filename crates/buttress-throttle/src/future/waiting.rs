use std::sync::Arc;

use buttress_core::{Deadline, NoTimeLeft, Propagate};

use crate::limit::{Refusal, Settings};

/// A call in the queue.
pub(crate) struct Waiting<S, Req, W> {
    pub(crate) wait: W,
    pub(crate) inner: S,
    pub(crate) request: Req,
    pub(crate) settings: WaitingSettings,
    pub(crate) deadline: Option<Deadline>,
    /// The deadline that the request announced when it was queued.
    pub(crate) announced: Option<Deadline>,
}

impl<S, Req, W> Waiting<S, Req, W> {
    /// Reduces the deadline that the request announces by the time of the wait.
    pub(super) fn announce<M: Propagate<Req>>(&mut self, mode: &M) -> Result<(), Refusal> {
        let Some(announced) = self.announced else { return Ok(()) };
        let refusal = |NoTimeLeft| Refusal::at(self.deadline.unwrap_or(announced));
        mode.set_deadline(&mut self.request, announced).map_err(refusal)
    }
}

/// The settings of a call in the queue. Dropping them before the wait is over counts the call as
/// abandoned.
pub(crate) struct WaitingSettings {
    pub(super) settings: Arc<Settings>,
    is_over: bool,
}

impl WaitingSettings {
    pub(crate) const fn new(settings: Arc<Settings>) -> Self {
        Self { settings, is_over: false }
    }

    /// Notes that the call was admitted or refused.
    pub(super) const fn end_wait(&mut self) {
        self.is_over = true;
    }
}

impl Drop for WaitingSettings {
    fn drop(&mut self) {
        if !self.is_over {
            self.settings.rejections.add_abandoned();
        }
    }
}
