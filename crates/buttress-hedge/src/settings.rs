use std::sync::{Arc, atomic::Ordering::Relaxed};

use buttress_control::{Ratio, RetryKind};
use buttress_core::{Enforcement, Origin, StateScope};
use buttress_state::Budget;

use crate::{
    WithheldReason,
    payment::{HedgePaid, HedgePayment},
    state::{HedgeRule, HedgeState},
};

/// The options of a layer, and the state that its services share.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) origin: Origin,
    pub(crate) budget: Budget,
    pub(crate) shared_budget: Option<Budget>,
    pub(crate) on_failure: OnFailure,
    pub(crate) enforcement: Enforcement,
    pub(crate) scope: StateScope,
    pub(crate) state: Arc<HedgeState>,
    /// Whether `budget` was given, to be shared by all services.
    is_budget_given: bool,
}

impl Settings {
    pub(crate) fn new(rule: HedgeRule) -> Self {
        Self {
            origin: Origin::new("hedge"),
            budget: default_budget(),
            shared_budget: None,
            on_failure: OnFailure::Return,
            enforcement: Enforcement::Enforce,
            scope: StateScope::PerLayer,
            state: Arc::new(HedgeState::new(rule, 1)),
            is_budget_given: false,
        }
    }

    /// Sets the most hedges of fresh state. Clones made before keep theirs.
    pub(crate) fn set_at_most(&mut self, hedges: u32) {
        self.state = Arc::new(HedgeState::new(self.state.rule(), hedges));
    }

    pub(crate) fn set_budget(&mut self, budget: Budget) {
        (self.budget, self.is_budget_given) = (budget, true);
    }

    /// Returns the settings for a further service, with state of its own under `per_service`.
    pub(crate) fn for_service(self: &Arc<Self>) -> Arc<Self> {
        match self.scope {
            StateScope::PerLayer => Arc::clone(self),
            StateScope::PerService => {
                let budget =
                    if self.is_budget_given { self.budget.clone() } else { default_budget() };
                Arc::new(Self { budget, state: Arc::new(self.state.fresh()), ..Self::clone(self) })
            }
        }
    }

    /// Whether the layer sends no hedge at all.
    #[inline]
    pub(crate) fn is_off(&self) -> bool {
        self.state.at_most() == 0
    }

    /// Whether hedges are counted and not sent.
    pub(crate) fn is_observing(&self) -> bool {
        self.enforcement == Enforcement::Observe
    }

    /// Pays for a hedge from both budgets.
    pub(crate) fn pay(&self) -> Result<HedgePayment, WithheldReason> {
        let own = self.budget.withdraw(RetryKind::Error).ok_or(WithheldReason::BudgetEmpty)?;
        let shared = match &self.shared_budget {
            Some(budget) => {
                let paid = budget.withdraw(RetryKind::Error);
                // If this budget is empty, dropping the first payment refunds it.
                Some(paid.ok_or(WithheldReason::SharedBudgetEmpty)?)
            }
            None => None,
        };
        Ok(HedgePayment { own, shared })
    }

    /// Counts and reports a hedge that is not sent.
    #[cold]
    pub(crate) fn withhold(&self, reason: WithheldReason) {
        self.state.note_withheld(reason);
        let (instance, reason) = (self.origin.name(), reason.as_str());
        tracing::debug!(name: "hedge.withheld", target: "buttress", instance, reason);
    }

    /// Counts a hedge that a layer below refused, and refunds its payment.
    #[cold]
    pub(crate) fn refund(&self, paid: HedgePaid) {
        self.state.refused.fetch_add(1, Relaxed);
        if let Some(paid) = paid.own {
            self.budget.refund(paid);
        }
        if let (Some(budget), Some(paid)) = (&self.shared_budget, paid.shared) {
            budget.refund(paid);
        }
    }

    /// Counts and reports a hedge that wins.
    pub(crate) fn win(&self, attempt: u32) {
        self.state.won.fetch_add(1, Relaxed);
        let instance = self.origin.name();
        tracing::trace!(name: "hedge.won", target: "buttress", instance, attempt);
    }
}

/// What a call does when a try fails while a further hedge is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// Waits for the other tries, and returns the failure if there are none.
    Return,
    /// Sends the next hedge at once, as gRPC does.
    Hedge,
}

fn default_budget() -> Budget {
    Budget::new(Ratio::percent(5), 0)
}
