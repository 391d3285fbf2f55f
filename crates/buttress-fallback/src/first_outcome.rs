use buttress_core::{Blend, Degraded, Signals, Source, Verdict};

use crate::settings::{Failure, Settings};

/// The first outcome of a call, which the layer is to replace.
pub(crate) struct FirstOutcome<Res, E> {
    pub(crate) outcome: Result<Res, E>,
    pub(crate) verdict: Verdict,
    /// The signals that came with the outcome.
    pub(crate) signals: Signals,
}

impl<Res, E> FirstOutcome<Res, E> {
    /// Returns the outcome unchanged, with its signals.
    pub(crate) fn pass<M, Other>(self, mode: &M) -> Result<M::Response, E>
    where
        M: Blend<Res, Other>,
    {
        raise(self.signals);
        self.outcome.map(|response| mode.own(response))
    }

    /// Returns the outcome, because the alternative service ended with this failure and these
    /// signals.
    pub(crate) fn failed<M, Other>(
        mut self,
        failure: Failure,
        signals: Signals,
        (settings, mode): (&Settings, &M),
    ) -> Result<M::Response, E>
    where
        M: Blend<Res, Other>,
    {
        settings.failed(self.verdict, failure);
        self.signals.spent = self.signals.spent.plus(signals.spent);
        self.pass(mode)
    }

    /// Replaces the outcome by the answer of `source`, which came with these signals.
    pub(crate) fn answered<M, Other>(
        self,
        answer: Other,
        source: Source,
        mut signals: Signals,
        (settings, mode): (&Settings, &M),
    ) -> M::Response
    where
        M: Blend<Res, Other>,
    {
        settings.answered(self.verdict, source);
        let degraded = Degraded::new(settings.origin.clone(), source, self.verdict);
        let response = mode.other(answer, degraded);
        // What the first call has cost stays true. Why the call failed does not: a layer outside
        // must not take the answer for a failure.
        signals.spent = signals.spent.plus(self.signals.spent);
        raise(signals);
        Signals::raise_degraded();
        response
    }
}

/// Raises signals again for the layer outside.
#[inline]
pub(crate) fn raise(signals: Signals) {
    if !signals.is_empty() {
        signals.raise();
    }
}
