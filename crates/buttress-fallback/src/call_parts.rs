use std::{sync::Arc, task::Poll};

use buttress_core::{Judge, Signals, Verdict};

use crate::settings::Settings;

/// The parts of a call that are needed once its outcome is known.
pub(crate) struct CallParts<M, J, Seed, Prepared> {
    pub(crate) settings: Arc<Settings>,
    pub(crate) mode: M,
    pub(crate) judge: J,
    pub(crate) seed: Seed,
    /// The kept part of the request, or the answer itself.
    pub(crate) prepared: Prepared,
}

impl<M, J, Seed, Prepared> CallParts<M, J, Seed, Prepared> {
    /// Runs a poll of the inner service. Returns the verdict on its outcome and the signals that were
    /// raised, if the outcome is to be replaced. Otherwise the signals stay raised.
    #[inline]
    pub(crate) fn watch<Req, Res, E>(
        &self,
        poll: impl FnOnce() -> Poll<Result<Res, E>>,
    ) -> (Poll<Result<Res, E>>, ToReplace)
    where
        J: Judge<M, Req, Res, E, Seed = Seed>,
    {
        let inner = || {
            let polled = poll();
            let Poll::Ready(outcome) = &polled else { return (polled, None) };
            // Judged within the watch, so that the judge sees the signals of the call.
            let verdict = self.judge.judge(&self.mode, &self.seed, outcome.as_ref());
            let is_replaced = self.settings.selection.contains(verdict);
            (polled, is_replaced.then_some(verdict))
        };
        let ((polled, verdict), signals) = Signals::watch_if(inner, |(_, found)| found.is_some());
        (polled, verdict.map(|verdict| (verdict, signals)))
    }
}

/// The verdict on an outcome that is to be replaced, and the signals that came with the outcome.
pub(crate) type ToReplace = Option<(Verdict, Signals)>;
