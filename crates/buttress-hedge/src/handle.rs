use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use buttress_core::Origin;
use buttress_state::Budget;

use crate::{
    WithheldCounts, WithheldReason,
    settings::Settings,
    state::{HedgeRule, HedgeState},
};

/// Live numbers of a [`HedgeLayer`](crate::HedgeLayer), summed over the services that share them, and
/// setters that change the layer while calls run.
///
/// ```
/// use std::time::Duration;
/// use buttress_hedge::{HedgeLayer, HedgeRule};
///
/// let handle = HedgeLayer::learned().handle();
/// handle.set_rule(HedgeRule::After(Duration::from_millis(50)));
/// assert_eq!(handle.delay(), Some(Duration::from_millis(50)));
/// handle.set_at_most(0); // No call is hedged from here on.
/// ```
#[derive(Clone)]
pub struct HedgeHandle {
    pub(crate) origin: Origin,
    budget: Budget,
    state: Arc<HedgeState>,
}

impl HedgeHandle {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            origin: settings.origin.clone(),
            budget: settings.budget.clone(),
            state: Arc::clone(&settings.state),
        }
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

    /// Returns the rule by which a hedge is due.
    pub fn rule(&self) -> HedgeRule {
        self.state.rule()
    }

    /// Sets the rule by which a hedge is due, for all services that share these numbers.
    ///
    /// The values mean what they mean in the constructors of the layer. A running call keeps the
    /// time of the hedge that it waits for. The hedge after that follows the new rule.
    ///
    /// If only the quantile changes, the learned latency stays, and the new quantile is known within
    /// 3 s of calls, or 50 samples if those take longer. If the delay was fixed, latencies are
    /// learned from here on. Those that were learned earlier hold until then.
    ///
    /// If the layer is [`per_service`](crate::HedgeLayer::per_service), its handle sets the rule of
    /// the services that it makes from now on.
    pub fn set_rule(&self, rule: HedgeRule) {
        self.state.set_rule(rule);
    }

    /// Returns the maximum number of hedges of a call.
    pub fn at_most(&self) -> u32 {
        self.state.at_most()
    }

    /// Sets the maximum number of hedges of a call, as
    /// [`HedgeLayer::at_most`](crate::HedgeLayer::at_most) does, for all services that share these
    /// numbers.
    ///
    /// A running call asks for the number when a hedge is due. A call that began while the number was
    /// zero is not hedged, because its request was not kept.
    ///
    /// If the layer is [`per_service`](crate::HedgeLayer::per_service), its handle sets the number
    /// for the services that it makes from now on.
    pub fn set_at_most(&self, hedges: u32) {
        self.state.set_at_most(hedges);
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
