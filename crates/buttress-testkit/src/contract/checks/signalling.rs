//! Checks of the signals that come with an outcome.

use crate::{
    Clause, Dialect, Heard, Subject,
    contract::trial::{CheckResult, Trial},
};

impl<D, S> Trial<D, S>
where
    D: Dialect,
    S: Subject<D>,
{
    /// The outcome of a call comes with signals, and that of the next call does not.
    ///
    /// A layer may add signals of its own to a failure, and may replace the failure. Then the layer
    /// raises `degraded`, and passes on what was spent. The deadline that ended the call is no
    /// longer of interest.
    pub(crate) async fn signals(self, failing: bool) -> CheckResult {
        self.pausing(1);
        self.signalling(true);
        if failing {
            self.failing();
        }
        let mut caller = self.caller();
        caller.ask(self.request(1));
        let heard = self.finish(&mut caller, "a call whose outcome comes with signals").await?;
        let unchanged = if failing { Heard::Failure(1) } else { Heard::Answer(1) };
        let signals = caller.signals();
        let told = if failing {
            signals.deadline.is_some() || signals.degraded
        } else {
            signals.deadline.is_some() && signals.degraded
        };
        let kept = told
            && signals.spent.retries >= Self::SPENT.retries
            && signals.spent.hedges >= Self::SPENT.hedges;
        self.require(Clause::Signals, kept || heard != unchanged, || {
            format!("the service raised signals with {heard:?}, and these came: {signals:?}")
        })?;
        if failing {
            return Ok(());
        }
        self.signalling(false);
        caller.ask(self.request(2));
        let heard = self.finish(&mut caller, "the call after one with signals").await?;
        let signals = caller.signals();
        self.require(Clause::Signals, signals.is_empty(), || {
            format!("the service raised no signal with {heard:?}, and these came: {signals:?}")
        })
    }
}
