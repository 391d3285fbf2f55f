use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use buttress_state::Budget;

use crate::{WithheldCounts, WithheldReason, settings::Settings, state::HedgeState};

/// Live numbers of a [`HedgeLayer`](crate::HedgeLayer), summed over the services that share them.
#[derive(Clone)]
pub struct HedgeHandle {
    budget: Budget,
    state: Arc<HedgeState>,
}

impl HedgeHandle {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { budget: settings.budget.clone(), state: Arc::clone(&settings.state) }
    }

    /// Returns the number of calls. Their hedges are [`sent`](Self::sent).
    pub fn calls(&self) -> u64 {
        self.state.calls.load(Relaxed)
    }

    /// Returns the number of hedges that were sent, of all calls. Under
    /// [`observe`](crate::HedgeLayer::observe): the number that would have been sent.
    pub fn sent(&self) -> u64 {
        self.state.sent.load(Relaxed)
    }

    /// Returns the number of hedges whose outcome their call returned.
    pub fn won(&self) -> u64 {
        self.state.won.load(Relaxed)
    }

    /// Returns the number of [sent](Self::sent) hedges that a layer below refused, because its limit
    /// was full or its circuit was not closed.
    pub fn refused(&self) -> u64 {
        self.state.refused.load(Relaxed)
    }

    /// Returns the number of calls whose hedge was withheld for `reason`.
    pub fn withheld(&self, reason: WithheldReason) -> u64 {
        self.state.withheld().get(reason)
    }

    /// Returns the delay after which a call is hedged now. `None` while no call is: the latency is
    /// not known yet or is beyond 128 s, or the fixed delay is never over.
    pub fn delay(&self) -> Option<Duration> {
        self.state.delay()
    }

    /// Returns the layer's own budget.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Returns all numbers at once. Calls may run in between, so the numbers need not agree.
    pub fn snapshot(&self) -> HedgeSnapshot {
        HedgeSnapshot {
            calls: self.calls(),
            sent: self.sent(),
            won: self.won(),
            refused: self.refused(),
            withheld: self.state.withheld(),
            delay: self.delay(),
            budget: self.budget.balance(),
        }
    }
}

impl fmt::Debug for HedgeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HedgeHandle").field(&self.snapshot()).finish()
    }
}

/// The numbers of a [`HedgeHandle`] at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HedgeSnapshot {
    /// [`HedgeHandle::calls`].
    pub calls: u64,
    /// [`HedgeHandle::sent`].
    pub sent: u64,
    /// [`HedgeHandle::won`].
    pub won: u64,
    /// [`HedgeHandle::refused`].
    pub refused: u64,
    /// [`HedgeHandle::withheld`], for each reason.
    pub withheld: WithheldCounts,
    /// [`HedgeHandle::delay`].
    pub delay: Option<Duration>,
    /// The balance of [`HedgeHandle::budget`]. `None` if the budget is unlimited.
    pub budget: Option<u64>,
}
