use std::sync::Arc;

use buttress_core::{Judge, Verdict};

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
    /// Returns the verdict on an outcome that is to be replaced. Must run in the poll that produced
    /// the outcome, so that the judge sees the signals of the call.
    #[inline]
    pub(crate) fn to_replace<Req, Res, E>(&self, outcome: &Result<Res, E>) -> Option<Verdict>
    where
        J: Judge<M, Req, Res, E, Seed = Seed>,
    {
        let verdict = self.judge.judge(&self.mode, &self.seed, outcome.as_ref());
        self.settings.selection.contains(verdict).then_some(verdict)
    }
}
